-- What benchmarks/dashboard.py reads: 5 personas with 10 pillars each, 50 clusters, 10,000 photos, 2,000 posts,
-- 1,000 ideas, 40 runs with 960 candidates and 800 votes. Inserted by set, so triggers stay out of the way.
UPDATE installation SET environment = 'sandbox';
ALTER TABLE scheduling_posts DISABLE TRIGGER USER;
ALTER TABLE post_items DISABLE TRIGGER USER;
ALTER TABLE content_pillars DISABLE TRIGGER USER;
ALTER TABLE image_candidates DISABLE TRIGGER USER;
ALTER TABLE votes DISABLE TRIGGER USER;
ALTER TABLE vote_items DISABLE TRIGGER USER;

INSERT INTO personas (name, age, zone, posts_per_week)
SELECT 'Persona ' || n, 30, 'Europe/Berlin', 5 FROM generate_series(1, 5) n;

INSERT INTO content_pillars (persona_id, name, weight, priority)
SELECT p.id, 'Pillar ' || n, 10, 1 + n % 5 FROM personas p, generate_series(1, 10) n;

INSERT INTO clusters (persona_id, name, ai_prompt)
SELECT 1 + n % 5, 'Cluster ' || n, repeat('words ', 60) FROM generate_series(1, 50) n;

-- Every pillar serves its persona's clusters in turn; one cluster of each persona stays without a pillar.
INSERT INTO pillar_cluster_assignments (persona_id, pillar_id, cluster_id, "primary")
SELECT c.persona_id, l.id, c.id, true
FROM (SELECT *, row_number() OVER (PARTITION BY persona_id ORDER BY id) AS place FROM clusters) c
JOIN (SELECT *, row_number() OVER (PARTITION BY persona_id ORDER BY id) AS place FROM content_pillars) l
  ON l.persona_id = c.persona_id AND l.place = c.place
WHERE c.place < 10;

INSERT INTO photos (persona_id, sha256, media_key, format, width, height, byte_count)
SELECT 1 + n % 5, encode(sha256(n::text::bytea), 'hex'), n || '.jpg', 'jpeg', 1080, 1350, 900000
FROM generate_series(1, 10000) n;

INSERT INTO cluster_candidates (persona_id, cluster_id, photo_id, display_order)
SELECT f.persona_id, c.id, f.id, f.id
FROM photos f
JOIN (SELECT *, row_number() OVER (PARTITION BY persona_id ORDER BY id) AS place FROM clusters) c
  ON c.persona_id = f.persona_id AND c.place = 1 + f.id / 5 % 10;

INSERT INTO instagram_accounts (persona_id, environment, ig_user_id, token_ciphertext, token_key_id)
SELECT id, 'sandbox', (17840000 + id)::text, '-', 'none' FROM personas;

-- Of 20 posts one each is a draft, ready, scheduled, missed, cancelled and failed; the others are published.
INSERT INTO scheduling_posts (persona_id, environment, account_id, cluster_id, pillar_id, state, caption,
                              alt_text, scheduled_at, published_at)
SELECT p.id, 'sandbox', a.id, c.cluster_id, c.pillar_id, s.state,
       CASE WHEN s.state <> 'draft' THEN repeat('A caption of some length. ', 12) ELSE '' END, 'words',
       CASE WHEN s.state NOT IN ('draft', 'ready') THEN s.at END, CASE WHEN s.state = 'published' THEN s.at END
FROM generate_series(1, 2000) n
CROSS JOIN LATERAL (
  SELECT (ARRAY['draft', 'ready', 'scheduled', 'missed', 'cancelled', 'failed', 'published'])
           [least(1 + n / 5 % 20, 7)] AS state,
         persona_now() + make_interval(hours => CASE WHEN n / 5 % 20 = 2 THEN n ELSE -n END) AS at) s
JOIN personas p ON p.id = 1 + n % 5
JOIN instagram_accounts a ON a.persona_id = p.id
LEFT JOIN LATERAL (
  SELECT cluster_id, pillar_id FROM pillar_cluster_assignments g WHERE g.persona_id = p.id
  ORDER BY cluster_id OFFSET n / 5 % 9 LIMIT 1) c ON true;

INSERT INTO post_items (post_id, persona_id, photo_id, sha256, holds, account_id)
SELECT s.id, s.persona_id, f.id, f.sha256, s.state NOT IN ('draft', 'failed', 'cancelled'), s.account_id
FROM (SELECT *, row_number() OVER (PARTITION BY persona_id ORDER BY id) AS place FROM scheduling_posts) s
JOIN (SELECT *, row_number() OVER (PARTITION BY persona_id ORDER BY id) AS place FROM photos) f
  ON f.persona_id = s.persona_id AND f.place = s.place * 3;

INSERT INTO content_suggestions (persona_id, pillar_id, title, prompt, status)
SELECT l.persona_id, l.id, 'Idea ' || n, repeat('A prompt. ', 40), CASE WHEN n % 4 = 0 THEN 'pending' ELSE 'rejected' END
FROM content_pillars l, generate_series(1, 20) n;

INSERT INTO pipelines (name) VALUES ('bench');
INSERT INTO pipeline_versions (pipeline_id, number) VALUES (1, 1);
INSERT INTO pipeline_steps (pipeline_version_id, position, name, children_per_parent)
VALUES (1, 1, 'base', 24), (1, 2, 'refine', 4);

INSERT INTO pipeline_runs (pipeline_version_id, persona_id, name, prompt, seed, status)
SELECT 1, 1 + n % 5, 'Run ' || n, repeat('words ', 60), n,
       CASE n % 4 WHEN 0 THEN 'completed' WHEN 1 THEN 'running' ELSE 'waiting' END
FROM generate_series(1, 40) n;

INSERT INTO pipeline_run_steps (run_id, pipeline_version_id, pipeline_step_id, position, children_per_parent, top_k)
SELECT r.id, 1, s.id, s.position, s.children_per_parent, 2
FROM pipeline_runs r, pipeline_steps s ORDER BY r.id, s.position;

INSERT INTO generation_slots (run_id, run_step_id, slot_no, state)
SELECT run_id, id, n, 'filled' FROM pipeline_run_steps, generate_series(1, 24) n WHERE position = 1;

INSERT INTO comfyui_jobs (prompt_id, run_id, run_step_id, slot_id, endpoint, state, seed)
SELECT gen_random_uuid(), run_id, run_step_id, id, 'http://127.0.0.1:8188', 'done', id FROM generation_slots;

INSERT INTO image_candidates (run_id, run_step_id, persona_id, slot_id, job_id, media_key, sha256, width, height,
                              seed)
SELECT j.run_id, j.run_step_id, r.persona_id, j.slot_id, j.id, j.id || '.png',
       encode(sha256(('c' || j.id)::bytea), 'hex'), 1024, 1024, j.id
FROM comfyui_jobs j JOIN pipeline_runs r ON r.id = j.run_id;

INSERT INTO contests (kind, run_step_id) SELECT 'run_step', id FROM pipeline_run_steps WHERE position = 1;

INSERT INTO contest_members (contest_id, image_candidate_id)
SELECT c.id, i.id FROM contests c JOIN image_candidates i ON i.run_step_id = c.run_step_id;

INSERT INTO votes (contest_id, session) SELECT id, gen_random_uuid() FROM contests, generate_series(1, 20);

INSERT INTO vote_items (vote_id, contest_id, contest_member_id, side, chosen)
SELECT v.id, v.contest_id, m.id, s, s = 1
FROM votes v, generate_series(1, 2) s,
LATERAL (SELECT id FROM contest_members WHERE contest_id = v.contest_id ORDER BY id OFFSET (v.id + s) % 24 LIMIT 1) m;

INSERT INTO heartbeats (process_id, kind, host, boot_id, pid, version, leader)
VALUES ('a', 'app', 'here', 'b', 1, '0', true), ('b', 'worker', 'there', 'b', 2, '0', false);
