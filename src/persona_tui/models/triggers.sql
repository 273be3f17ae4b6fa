CREATE CONSTRAINT TRIGGER pillar_weights AFTER INSERT OR UPDATE OF weight, active, persona_id ON content_pillars
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION check_pillar_weights();

CREATE TRIGGER environment_matches BEFORE INSERT OR UPDATE OF environment ON instagram_accounts
  FOR EACH ROW EXECUTE FUNCTION check_environment();
CREATE TRIGGER environment_matches BEFORE INSERT OR UPDATE OF environment ON scheduling_posts
  FOR EACH ROW EXECUTE FUNCTION check_environment();
CREATE TRIGGER environment_matches BEFORE INSERT OR UPDATE OF environment ON publish_attempts
  FOR EACH ROW EXECUTE FUNCTION check_environment();
CREATE TRIGGER environment_kept BEFORE UPDATE OF environment ON installation
  FOR EACH ROW WHEN (OLD.environment <> NEW.environment) EXECUTE FUNCTION keep_environment();

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON audit_events
  FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER never_truncated BEFORE TRUNCATE ON audit_events
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON publish_replies
  FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON votes
  FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON vote_items
  FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON pipeline_steps
  FOR EACH ROW EXECUTE FUNCTION refuse_change();

CREATE TRIGGER post_move BEFORE INSERT OR UPDATE ON scheduling_posts
  FOR EACH ROW EXECUTE FUNCTION check_post_move();
CREATE TRIGGER post_kept BEFORE DELETE ON scheduling_posts
  FOR EACH ROW EXECUTE FUNCTION refuse_post_delete();
CREATE TRIGGER items_follow AFTER UPDATE ON scheduling_posts
  FOR EACH ROW EXECUTE FUNCTION sync_post_items();
CREATE TRIGGER item_filled BEFORE INSERT OR UPDATE ON post_items
  FOR EACH ROW EXECUTE FUNCTION fill_post_item();
CREATE CONSTRAINT TRIGGER post_picture_count AFTER INSERT OR UPDATE OF state, kind ON scheduling_posts
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION check_post_items();
CREATE CONSTRAINT TRIGGER post_picture_count AFTER INSERT OR DELETE OR UPDATE OF post_id ON post_items
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION check_post_items();

CREATE CONSTRAINT TRIGGER vote_picture_count AFTER INSERT ON votes
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION check_vote_items();
CREATE CONSTRAINT TRIGGER vote_picture_count AFTER INSERT ON vote_items
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION check_vote_items();
CREATE TRIGGER contest_member_fits BEFORE INSERT OR UPDATE ON contest_members
  FOR EACH ROW EXECUTE FUNCTION check_contest_member();

CREATE TRIGGER lora_mapping_fits BEFORE INSERT OR UPDATE ON persona_lora_mappings
  FOR EACH ROW EXECUTE FUNCTION check_lora_mapping();
CREATE TRIGGER lora_owner_kept BEFORE UPDATE OF persona_id ON lora_models
  FOR EACH ROW WHEN (OLD.persona_id IS DISTINCT FROM NEW.persona_id) EXECUTE FUNCTION keep_lora_owner();

CREATE TRIGGER training_consent BEFORE INSERT OR UPDATE OF status ON training_runs
  FOR EACH ROW WHEN (NEW.status IN ('encoding', 'training', 'exporting'))
  EXECUTE FUNCTION check_training_consent();
CREATE TRIGGER consent_kept BEFORE UPDATE ON consents
  FOR EACH ROW EXECUTE FUNCTION keep_consent();
CREATE TRIGGER append_only BEFORE DELETE ON consents
  FOR EACH ROW EXECUTE FUNCTION refuse_change();
