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

CREATE TRIGGER training_consent BEFORE INSERT OR UPDATE OF status ON training_runs
  FOR EACH ROW WHEN (NEW.status IN ('encoding', 'training', 'exporting'))
  EXECUTE FUNCTION check_training_consent();
CREATE TRIGGER consent_kept BEFORE UPDATE ON consents
  FOR EACH ROW EXECUTE FUNCTION keep_consent();
CREATE TRIGGER append_only BEFORE DELETE ON consents
  FOR EACH ROW EXECUTE FUNCTION refuse_change();
