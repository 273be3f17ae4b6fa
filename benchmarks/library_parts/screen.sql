-- What benchmarks/library_parts/screen.py looks at: one persona with 10 pillars, 50 clusters, and photos, of
-- which a fifth lies in no cluster. :count photos; inserted by set, so triggers stay out of the way.
UPDATE installation SET environment = 'sandbox';
ALTER TABLE content_pillars DISABLE TRIGGER USER;

INSERT INTO personas (name, age, zone) VALUES ('Mira', 30, 'Europe/Berlin');
INSERT INTO content_pillars (persona_id, name, weight, priority)
SELECT 1, 'Pillar ' || n, 10, 1 + n % 5 FROM generate_series(1, 10) n;
INSERT INTO clusters (persona_id, name) SELECT 1, 'Cluster ' || n FROM generate_series(1, 50) n;
INSERT INTO pillar_cluster_assignments (persona_id, pillar_id, cluster_id, "primary")
SELECT 1, 1 + id % 10, id, true FROM clusters WHERE id <= 45;

INSERT INTO photos (persona_id, sha256, media_key, original_name, format, width, height, byte_count, taken_at,
                    created_at)
SELECT 1, encode(sha256(n::text::bytea), 'hex'), n || '.jpg', 'walk_' || n || '.jpg', 'JPEG', 1600, 2000, 900000,
       timestamptz '2024-01-01' + n % 700 * interval '1 day', timestamptz '2026-01-01' + n * interval '1 second'
FROM generate_series(1, :count) n;
INSERT INTO picture_analyses (photo_id, sharpness, exposure, faces) SELECT id, 100, 0.5, id % 3 FROM photos;
INSERT INTO cluster_candidates (persona_id, cluster_id, photo_id, display_order)
SELECT 1, 1 + id % 50, id, id FROM photos WHERE id % 5 <> 0;
