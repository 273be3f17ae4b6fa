-- {runs} runs of three steps with {each} candidates each: half of them in the first step, which is approved
-- with four, half under these four; and for each of the four further places that hold no picture yet.
TRUNCATE pipelines, pipeline_runs, comfyui_jobs, contests CASCADE;

INSERT INTO pipelines (name) VALUES ('bench');
INSERT INTO pipeline_versions (pipeline_id, number) SELECT id, 1 FROM pipelines;
INSERT INTO pipeline_steps (pipeline_version_id, position, name)
SELECT v.id, n, 'step ' || n FROM pipeline_versions v, generate_series(1, 3) n;

INSERT INTO pipeline_runs (pipeline_version_id, name, prompt, seed, status)
SELECT v.id, 'run ' || n, 'a bowl', n, 'running' FROM pipeline_versions v, generate_series(1, {runs}) n;
INSERT INTO pipeline_run_steps
  (run_id, pipeline_version_id, pipeline_step_id, position, children_per_parent, top_k, approved_at, approved_by)
SELECT r.id, r.pipeline_version_id, s.id, s.position, 8, 4,
       CASE WHEN s.position = 1 THEN persona_now() END, 'bench'
FROM pipeline_runs r JOIN pipeline_steps s ON s.pipeline_version_id = r.pipeline_version_id;

-- The first step's places, jobs and pictures.
INSERT INTO generation_slots (run_id, run_step_id, slot_no, state)
SELECT st.run_id, st.id, n, 'filled' FROM pipeline_run_steps st, generate_series(1, {each} / 2) n
WHERE st.position = 1;
INSERT INTO comfyui_jobs (prompt_id, run_id, run_step_id, slot_id, endpoint, state, seed)
SELECT gen_random_uuid(), run_id, run_step_id, id, 'http://127.0.0.1:1', 'done', id FROM generation_slots;
INSERT INTO image_candidates
  (run_id, run_step_id, slot_id, job_id, media_key, sha256, width, height, seed, elo_score, status)
SELECT j.run_id, j.run_step_id, j.slot_id, j.id, 'k', repeat('0', 64), 64, 80, j.seed, 900 + j.id % 200,
       CASE WHEN s.slot_no > 4 AND s.slot_no % 2 = 0 THEN 'rejected' ELSE 'active' END
FROM comfyui_jobs j JOIN generation_slots s ON s.id = j.slot_id;
INSERT INTO gate_members (run_step_id, image_candidate_id, rank)
SELECT i.run_step_id, i.id, s.slot_no
FROM image_candidates i JOIN generation_slots s ON s.id = i.slot_id WHERE s.slot_no <= 4;

-- The second step's, under the four that went on.
INSERT INTO generation_slots (run_id, run_step_id, parent_id, slot_no, state)
SELECT st.run_id, st.id, i.id, n, 'filled'
FROM gate_members g JOIN image_candidates i ON i.id = g.image_candidate_id
JOIN pipeline_run_steps st ON st.run_id = i.run_id AND st.position = 2, generate_series(1, {each} / 8) n;
INSERT INTO comfyui_jobs (prompt_id, run_id, run_step_id, slot_id, endpoint, state, seed)
SELECT gen_random_uuid(), run_id, run_step_id, id, 'http://127.0.0.1:1', 'done', id
FROM generation_slots WHERE parent_id IS NOT NULL;
INSERT INTO image_candidates
  (run_id, run_step_id, parent_id, slot_id, job_id, media_key, sha256, width, height, seed)
SELECT s.run_id, s.run_step_id, s.parent_id, s.id, j.id, 'k', repeat('0', 64), 64, 80, s.id
FROM generation_slots s JOIN comfyui_jobs j ON j.slot_id = s.id WHERE s.parent_id IS NOT NULL;

-- Places that are still to be filled, whose state the measurement sets.
INSERT INTO generation_slots (run_id, run_step_id, parent_id, slot_no, state)
SELECT st.run_id, st.id, i.id, 1000 + n, 'open'
FROM gate_members g JOIN image_candidates i ON i.id = g.image_candidate_id
JOIN pipeline_run_steps st ON st.run_id = i.run_id AND st.position = 2, generate_series(1, 4) n;
