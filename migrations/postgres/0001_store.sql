-- Deliveries, records, jobs, leases and the invocation log.
-- Text is compared by its bytes. Times are milliseconds since 1970 unless the name says otherwise.

-- The source of `seq` and `version` numbers.
CREATE SEQUENCE sequence;

-- Who runs the jobs of which partition. A commit on a job's behalf checks `epoch`: a host that lost its lease cannot write.
CREATE TABLE partitions (
    id bigint PRIMARY KEY,
    owner text COLLATE "C",
    epoch bigint NOT NULL DEFAULT 0,
    beat bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);
INSERT INTO partitions (id) SELECT generate_series(0, 63);

-- Hosts that are alive: each partition's fair share follows from their number.
CREATE TABLE hosts (
    id text COLLATE "C" NOT NULL PRIMARY KEY,
    beat bigint NOT NULL DEFAULT 0
);

-- Verified webhooks as they arrived. The body is compressed already.
CREATE TABLE deliveries (
    seq bigint PRIMARY KEY,
    app text COLLATE "C" NOT NULL,
    shop text COLLATE "C" NOT NULL,
    platform text COLLATE "C" NOT NULL,
    webhook_id text COLLATE "C" NOT NULL,
    topic text COLLATE "C" NOT NULL,
    event_id text COLLATE "C",
    lane text COLLATE "C",
    body_sha256 bytea NOT NULL,
    received_ms bigint NOT NULL,
    triggered_ms bigint,
    headers json NOT NULL,
    body_bytes bigint NOT NULL,
    body bytea NOT NULL
);
ALTER TABLE deliveries ALTER COLUMN body SET STORAGE EXTERNAL;
CREATE UNIQUE INDEX deliveries_webhook ON deliveries (app, shop, webhook_id);
CREATE UNIQUE INDEX deliveries_event ON deliveries (app, shop, topic, event_id, body_sha256) WHERE event_id IS NOT NULL;
-- To find the shop of an app for which a body came first.
CREATE INDEX deliveries_body ON deliveries (app, body_sha256);
CREATE INDEX deliveries_shop ON deliveries (app, shop, seq);

-- The mirrored and custom data. `doc` is a JSON object without `id`.
CREATE TABLE records (
    app text COLLATE "C" NOT NULL,
    shop text COLLATE "C" NOT NULL,
    model text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    doc json NOT NULL,
    platform_updated_us bigint,
    created_ms bigint NOT NULL,
    updated_ms bigint NOT NULL,
    PRIMARY KEY (app, shop, model, id)
);

-- The host's own notes beside records, whose models begin with `~`: deleted with age.
CREATE INDEX records_notes ON records (updated_ms) WHERE model >= '~';

-- Work to do. A finished job is deleted in the commit that it made. `chain` counts the jobs that enqueued one another up to
-- it, `bytes` what its policy, payload and checkpoint take. `part` is the partition of its queue, and of its shop
-- when it has none: a queue's jobs are counted in one place, a record's are kept in order in one place, so none has both.
CREATE TABLE jobs (
    seq bigint PRIMARY KEY,
    app text COLLATE "C" NOT NULL,
    shop text COLLATE "C" NOT NULL,
    part bigint NOT NULL,
    kind text COLLATE "C" NOT NULL CHECK (kind IN ('delivery', 'action', 'success', 'call')),
    lane text COLLATE "C",
    queue text COLLATE "C",
    queue_bound bigint,
    rank bigint NOT NULL,
    id text COLLATE "C",
    state bigint NOT NULL CHECK (state BETWEEN 0 AND 2),
    run_at_ms bigint NOT NULL,
    attempts bigint NOT NULL,
    depth bigint NOT NULL,
    chain bigint NOT NULL DEFAULT 0,
    bytes bigint NOT NULL DEFAULT 0,
    delivery_seq bigint,
    policy json,
    payload json,
    checkpoint json,
    reason text COLLATE "C",
    error json,
    created_ms bigint NOT NULL,
    parked_ms bigint,
    starts bigint NOT NULL DEFAULT 0,
    CHECK ((state = 2) = (reason IS NOT NULL)),
    CHECK (rank BETWEEN 0 AND 2 AND (lane IS NULL OR rank = 1)),
    CHECK (lane IS NULL OR queue IS NULL)
);
-- lz4 takes a third of the default's time. A server that was built without it keeps its default.
DO $$
BEGIN
    ALTER TABLE records ALTER COLUMN doc SET COMPRESSION lz4;
    ALTER TABLE jobs ALTER COLUMN payload SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported OR invalid_parameter_value THEN
    NULL;
END $$;

CREATE INDEX jobs_queued ON jobs (part, app, shop, rank, seq) WHERE state = 0;
CREATE INDEX jobs_delayed ON jobs (part, run_at_ms, seq) WHERE state = 1;
CREATE INDEX jobs_parked ON jobs (app, shop, seq) WHERE state = 2;
CREATE UNIQUE INDEX jobs_id ON jobs (app, shop, id) WHERE id IS NOT NULL;
CREATE INDEX jobs_delivery ON jobs (delivery_seq) WHERE delivery_seq IS NOT NULL;

-- What ran, and what became of it.
CREATE TABLE invocations (
    seq bigint PRIMARY KEY,
    app text COLLATE "C" NOT NULL,
    shop text COLLATE "C" NOT NULL,
    at_ms bigint NOT NULL,
    delivery_seq bigint,
    job_seq bigint,
    job_id text COLLATE "C",
    plugin text COLLATE "C",
    version text COLLATE "C",
    action text COLLATE "C",
    phase text COLLATE "C",
    outcome text COLLATE "C" NOT NULL,
    detail json,
    attempt bigint NOT NULL,
    duration_us bigint NOT NULL
);
CREATE INDEX invocations_delivery ON invocations (delivery_seq) WHERE delivery_seq IS NOT NULL;
-- With `seq`, so that the newest entry of an id is found among any number of them.
CREATE INDEX invocations_job ON invocations (app, shop, job_id, seq) WHERE job_id IS NOT NULL;
CREATE INDEX invocations_shop ON invocations (app, shop, seq);

-- The models of each app as they were deployed, and the indexes and views that were made for them.
CREATE TABLE deployments (
    app text COLLATE "C" NOT NULL PRIMARY KEY,
    models json NOT NULL,
    objects json NOT NULL,
    deployed_ms bigint NOT NULL
);

-- What each shop keeps, in step with the tables above. A shop's usage is the sum of its lines: line 0 is changed by
-- everything but deliveries on PostgreSQL, which have lines of their own so that they never wait for a job's transaction.
-- `version` counts the changes of a line.
CREATE TABLE usage (
    app text COLLATE "C" NOT NULL,
    shop text COLLATE "C" NOT NULL,
    line bigint NOT NULL,
    version bigint NOT NULL,
    jobs bigint NOT NULL,
    job_bytes bigint NOT NULL,
    records bigint NOT NULL,
    record_bytes bigint NOT NULL,
    body_bytes bigint NOT NULL,
    log_bytes bigint NOT NULL,
    PRIMARY KEY (app, shop, line)
) WITH (fillfactor = 50);
