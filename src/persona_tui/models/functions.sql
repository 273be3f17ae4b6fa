-- The one clock of the database (R7): the offset is zero outside the sandbox, held by a CHECK.
CREATE OR REPLACE FUNCTION persona_now() RETURNS timestamptz LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  RETURN clock_timestamp() + coalesce((SELECT clock_offset FROM installation), interval '0');
END $$;

-- Active pillar weights of a persona sum to at most 100 at every commit. The persona's row is locked, so
-- that two transactions that each stay below can't pass together; NO KEY UPDATE does not meet foreign keys.
CREATE OR REPLACE FUNCTION check_pillar_weights() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE total numeric;
BEGIN
  PERFORM 1 FROM personas WHERE id = NEW.persona_id FOR NO KEY UPDATE;
  SELECT coalesce(sum(weight), 0) INTO total FROM content_pillars WHERE persona_id = NEW.persona_id AND active;
  IF total > 100 THEN
    RAISE EXCEPTION 'active pillar weights sum to %', total
      USING ERRCODE = 'check_violation', CONSTRAINT = 'pillar_weights_at_most_100', TABLE = 'content_pillars';
  END IF;
  RETURN NULL;
END $$;

-- Rows of live and sandbox never mix (R20).
CREATE OR REPLACE FUNCTION check_environment() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.environment IS DISTINCT FROM (SELECT environment FROM installation) THEN
    RAISE EXCEPTION 'a % row in a % database', NEW.environment, (SELECT environment FROM installation)
      USING ERRCODE = 'check_violation', CONSTRAINT = 'environment_matches', TABLE = TG_TABLE_NAME;
  END IF;
  RETURN NEW;
END $$;

CREATE OR REPLACE FUNCTION keep_environment() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT FROM instagram_accounts) OR EXISTS (SELECT FROM scheduling_posts) THEN
    RAISE EXCEPTION 'a database with accounts or posts keeps its environment'
      USING ERRCODE = 'check_violation', CONSTRAINT = 'environment_kept', TABLE = 'installation';
  END IF;
  RETURN NEW;
END $$;

-- Append-only tables: no UPDATE, no DELETE but by a cascade, no TRUNCATE.
CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'DELETE' AND pg_trigger_depth() > 1 THEN
    RETURN OLD;
  END IF;
  RAISE EXCEPTION '% is append-only', TG_TABLE_NAME
    USING ERRCODE = 'restrict_violation', CONSTRAINT = 'append_only', TABLE = TG_TABLE_NAME;
END $$;

-- A post moves only as post_transitions says. In the states that a publisher owns, a change needs the
-- transaction's fence to equal the row's, or takes over by raising the fence once the lease has run out.
CREATE OR REPLACE FUNCTION check_post_move() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  owned CONSTANT text[] := ARRAY['claimed', 'staged', 'creating', 'container', 'publishable', 'sending',
                                 'unknown', 'reconciling'];
  after_sending CONSTANT text[] := ARRAY['publishable', 'sending', 'unknown', 'reconciling', 'published',
                                         'needs_human', 'paused'];
BEGIN
  IF TG_OP = 'INSERT' THEN
    IF NEW.state NOT IN ('draft', 'awaiting_image', 'ready', 'scheduled') THEN
      RAISE EXCEPTION 'a post does not begin as %', NEW.state
        USING ERRCODE = 'check_violation', CONSTRAINT = 'post_begins', TABLE = 'scheduling_posts';
    END IF;
    RETURN NEW;
  END IF;
  IF NEW.environment <> OLD.environment OR NEW.persona_id <> OLD.persona_id THEN
    RAISE EXCEPTION 'a post keeps its persona and environment'
      USING ERRCODE = 'check_violation', CONSTRAINT = 'post_identity', TABLE = 'scheduling_posts';
  END IF;
  IF OLD.state = ANY (owned) THEN
    IF NEW.fence = OLD.fence THEN
      IF current_setting('persona.fence', true) IS DISTINCT FROM OLD.fence::text THEN
        RAISE EXCEPTION 'post % is owned by fence %', OLD.id, OLD.fence
          USING ERRCODE = 'check_violation', CONSTRAINT = 'post_fence', TABLE = 'scheduling_posts';
      END IF;
    ELSIF NEW.fence <= OLD.fence OR OLD.lease_until > persona_now() THEN
      RAISE EXCEPTION 'the lease of post % has not run out', OLD.id
        USING ERRCODE = 'check_violation', CONSTRAINT = 'post_lease', TABLE = 'scheduling_posts';
    END IF;
  ELSIF NEW.state = ANY (owned) AND NEW.fence <= OLD.fence THEN
    RAISE EXCEPTION 'a claim raises the fence of post %', OLD.id
      USING ERRCODE = 'check_violation', CONSTRAINT = 'post_fence', TABLE = 'scheduling_posts';
  END IF;
  IF NEW.state <> OLD.state AND NOT EXISTS (
    SELECT FROM post_transitions WHERE from_state = OLD.state AND to_state = NEW.state) THEN
    RAISE EXCEPTION 'a post does not go from % to %', OLD.state, NEW.state
      USING ERRCODE = 'check_violation', CONSTRAINT = 'post_transition', TABLE = 'scheduling_posts';
  END IF;
  -- R13, R18: what was sent may be out, so it never becomes a fresh post and never gets a second container.
  IF EXISTS (SELECT FROM publish_attempts a WHERE a.post_id = OLD.id AND a.open AND a.sent_at IS NOT NULL) THEN
    IF NOT NEW.state = ANY (after_sending) OR NEW.creation_id IS DISTINCT FROM OLD.creation_id THEN
      RAISE EXCEPTION 'post % may be published already', OLD.id
        USING ERRCODE = 'check_violation', CONSTRAINT = 'post_maybe_published', TABLE = 'scheduling_posts';
    END IF;
  END IF;
  RETURN NEW;
END $$;

CREATE OR REPLACE FUNCTION refuse_post_delete() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF OLD.state NOT IN ('draft', 'awaiting_image', 'ready', 'cancelled', 'failed') THEN
    RAISE EXCEPTION 'a post that is % is not deleted', OLD.state
      USING ERRCODE = 'restrict_violation', CONSTRAINT = 'post_kept', TABLE = 'scheduling_posts';
  END IF;
  RETURN OLD;
END $$;

-- A picture is held by a live post; a draft, failed or cancelled one frees it.
CREATE OR REPLACE FUNCTION post_holds(state text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
  SELECT state NOT IN ('draft', 'failed', 'cancelled')
$$;

CREATE OR REPLACE FUNCTION fill_post_item() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE post scheduling_posts;
BEGIN
  SELECT * INTO post FROM scheduling_posts WHERE id = NEW.post_id FOR SHARE;
  NEW.holds := post_holds(post.state);
  NEW.account_id := CASE WHEN post.repost_allowed THEN NULL ELSE post.account_id END;
  RETURN NEW;
END $$;

CREATE OR REPLACE FUNCTION sync_post_items() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.state <> OLD.state OR NEW.account_id IS DISTINCT FROM OLD.account_id
     OR NEW.repost_allowed <> OLD.repost_allowed THEN
    UPDATE post_items SET position = position WHERE post_id = NEW.id;
  END IF;
  RETURN NULL;
END $$;

-- Once scheduled, a post has one picture, a carousel two to ten.
CREATE OR REPLACE FUNCTION check_post_items() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  target bigint;
  post scheduling_posts;
  pictures integer;
BEGIN
  IF TG_TABLE_NAME = 'scheduling_posts' THEN
    target := NEW.id;
  ELSE
    target := CASE WHEN TG_OP = 'DELETE' THEN OLD.post_id ELSE NEW.post_id END;
  END IF;
  SELECT * INTO post FROM scheduling_posts WHERE id = target FOR SHARE;
  IF NOT FOUND OR post.state IN ('draft', 'awaiting_image', 'cancelled', 'failed') THEN
    RETURN NULL;
  END IF;
  SELECT count(*) INTO pictures FROM post_items WHERE post_id = target;
  IF (CASE WHEN post.kind = 'carousel' THEN pictures NOT BETWEEN 2 AND 10 ELSE pictures <> 1 END) THEN
    RAISE EXCEPTION 'a % post with % pictures', post.kind, pictures
      USING ERRCODE = 'check_violation', CONSTRAINT = 'post_picture_count', TABLE = 'post_items';
  END IF;
  RETURN NULL;
END $$;

-- A vote shows two to four pictures; an undo shows none.
CREATE OR REPLACE FUNCTION check_vote_items() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  vote votes;
  shown integer;
BEGIN
  IF TG_TABLE_NAME = 'votes' THEN
    vote := NEW;
  ELSE
    SELECT * INTO vote FROM votes WHERE id = NEW.vote_id;
  END IF;
  SELECT count(*) INTO shown FROM vote_items WHERE vote_id = vote.id;
  IF (CASE WHEN vote.undoes_vote_id IS NULL THEN shown NOT BETWEEN 2 AND 4 ELSE shown <> 0 END) THEN
    RAISE EXCEPTION 'a vote with % pictures', shown
      USING ERRCODE = 'check_violation', CONSTRAINT = 'vote_picture_count', TABLE = 'vote_items';
  END IF;
  RETURN NULL;
END $$;

-- A contest's members are pictures of what it is about.
CREATE OR REPLACE FUNCTION check_contest_member() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE contest contests;
BEGIN
  SELECT * INTO contest FROM contests WHERE id = NEW.contest_id;
  IF (contest.kind = 'run_step' AND NOT EXISTS (
        SELECT FROM image_candidates c WHERE c.id = NEW.image_candidate_id AND c.run_step_id = contest.run_step_id))
     OR (contest.kind = 'cluster' AND NOT EXISTS (
        SELECT FROM cluster_candidates m WHERE m.cluster_id = contest.cluster_id
          AND (m.image_candidate_id = NEW.image_candidate_id OR m.photo_id = NEW.photo_id)))
     OR ((contest.comparison_id IS NOT NULL OR NEW.comparison_picture_id IS NOT NULL) AND NOT EXISTS (
        SELECT FROM lora_comparison_pictures p WHERE p.id = NEW.comparison_picture_id
          AND p.comparison_id = contest.comparison_id)) THEN
    RAISE EXCEPTION 'the picture is not part of contest %', NEW.contest_id
      USING ERRCODE = 'check_violation', CONSTRAINT = 'contest_member_fits', TABLE = 'contest_members';
  END IF;
  RETURN NEW;
END $$;

-- A LoRA that holds a persona's likeness serves that persona alone.
CREATE OR REPLACE FUNCTION check_lora_mapping() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT FROM lora_models l WHERE l.id = NEW.lora_model_id
             AND l.persona_id IS NOT NULL AND l.persona_id <> NEW.persona_id) THEN
    RAISE EXCEPTION 'the LoRA belongs to another persona'
      USING ERRCODE = 'check_violation', CONSTRAINT = 'lora_mapping_fits', TABLE = 'persona_lora_mappings';
  END IF;
  RETURN NEW;
END $$;

CREATE OR REPLACE FUNCTION keep_lora_owner() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'a LoRA keeps its persona'
    USING ERRCODE = 'check_violation', CONSTRAINT = 'lora_owner_kept', TABLE = 'lora_models';
END $$;

-- A dataset trains only where nobody real is in it, or by a consent that holds at this moment.
CREATE OR REPLACE FUNCTION check_training_consent() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE dataset datasets;
BEGIN
  SELECT * INTO dataset FROM datasets WHERE id = NEW.dataset_id FOR SHARE;
  IF dataset.subject = 'fictional' THEN
    RETURN NEW;
  END IF;
  PERFORM 1 FROM consents WHERE id = dataset.consent_id AND scope IN ('training', 'all')
    AND withdrawn_at IS NULL AND (expires_at IS NULL OR expires_at > persona_now()) FOR SHARE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'dataset % has no consent to train', NEW.dataset_id
      USING ERRCODE = 'check_violation', CONSTRAINT = 'training_consent', TABLE = 'training_runs';
  END IF;
  RETURN NEW;
END $$;

-- What was permitted stays as it was given; it ends once, and for good.
CREATE OR REPLACE FUNCTION keep_consent() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF OLD.withdrawn_at IS NOT NULL OR to_jsonb(NEW) - ARRAY['withdrawn_at', 'withdrawn_reason']
     <> to_jsonb(OLD) - ARRAY['withdrawn_at', 'withdrawn_reason'] THEN
    RAISE EXCEPTION 'a consent stays as it was given'
      USING ERRCODE = 'check_violation', CONSTRAINT = 'consent_kept', TABLE = 'consents';
  END IF;
  RETURN NEW;
END $$;
