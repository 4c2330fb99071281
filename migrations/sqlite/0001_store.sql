-- Deliveries, records, jobs, leases and the invocation log.
-- Text is compared by its bytes. Times are milliseconds since 1970 unless the name says otherwise.

-- The source of `seq` and `version` numbers. One row; a batch takes as many as it needs.
CREATE TABLE sequence (next INTEGER NOT NULL) STRICT;
INSERT INTO sequence VALUES (1);

-- Who runs the jobs of which partition. A commit on a job's behalf checks `epoch`: a host that lost its lease cannot write.
CREATE TABLE partitions (
    id INTEGER PRIMARY KEY,
    owner TEXT,
    epoch INTEGER NOT NULL DEFAULT 0,
    beat INTEGER NOT NULL DEFAULT 0
) STRICT;
WITH RECURSIVE ids (id) AS (SELECT 0 UNION ALL SELECT id + 1 FROM ids WHERE id < 63)
INSERT INTO partitions (id) SELECT id FROM ids;

-- Hosts that are alive: each partition's fair share follows from their number.
CREATE TABLE hosts (
    id TEXT NOT NULL PRIMARY KEY,
    beat INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

-- Verified webhooks as they arrived.
CREATE TABLE deliveries (
    seq INTEGER PRIMARY KEY,
    app TEXT NOT NULL,
    shop TEXT NOT NULL,
    platform TEXT NOT NULL,
    webhook_id TEXT NOT NULL,
    topic TEXT NOT NULL,
    event_id TEXT,
    lane TEXT,
    body_sha256 BLOB NOT NULL,
    received_ms INTEGER NOT NULL,
    triggered_ms INTEGER,
    headers TEXT NOT NULL,
    body_bytes INTEGER NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX deliveries_webhook ON deliveries (app, shop, webhook_id);
CREATE UNIQUE INDEX deliveries_event ON deliveries (app, shop, topic, event_id, body_sha256) WHERE event_id IS NOT NULL;
-- To find the shop of an app for which a body came first.
CREATE INDEX deliveries_body ON deliveries (app, body_sha256);
CREATE INDEX deliveries_shop ON deliveries (app, shop, seq);

-- The mirrored and custom data. `doc` is a JSON object without `id`.
CREATE TABLE records (
    app TEXT NOT NULL,
    shop TEXT NOT NULL,
    model TEXT NOT NULL,
    id TEXT NOT NULL,
    version INTEGER NOT NULL,
    doc TEXT NOT NULL,
    platform_updated_us INTEGER,
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    PRIMARY KEY (app, shop, model, id)
) STRICT;

-- The host's own notes beside records, whose models begin with `~`: deleted with age.
CREATE INDEX records_notes ON records (updated_ms) WHERE model >= '~';

-- Work to do. A finished job is deleted in the commit that it made. `chain` counts the jobs that enqueued one another up to
-- it, `bytes` what its policy, payload and checkpoint take. `part` is the partition of its queue, and of its shop
-- when it has none: a queue's jobs are counted in one place, a record's are kept in order in one place, so none has both.
CREATE TABLE jobs (
    seq INTEGER PRIMARY KEY,
    app TEXT NOT NULL,
    shop TEXT NOT NULL,
    part INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('delivery', 'action', 'success', 'call')),
    lane TEXT,
    queue TEXT,
    queue_bound INTEGER,
    rank INTEGER NOT NULL,
    id TEXT,
    state INTEGER NOT NULL CHECK (state BETWEEN 0 AND 2),
    run_at_ms INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    depth INTEGER NOT NULL,
    chain INTEGER NOT NULL DEFAULT 0,
    bytes INTEGER NOT NULL DEFAULT 0,
    delivery_seq INTEGER,
    policy TEXT,
    payload TEXT,
    checkpoint TEXT,
    reason TEXT,
    error TEXT,
    created_ms INTEGER NOT NULL,
    parked_ms INTEGER,
    starts INTEGER NOT NULL DEFAULT 0,
    CHECK ((state = 2) = (reason IS NOT NULL)),
    CHECK (rank BETWEEN 0 AND 2 AND (lane IS NULL OR rank = 1)),
    CHECK (lane IS NULL OR queue IS NULL)
) STRICT;
CREATE INDEX jobs_queued ON jobs (part, app, shop, rank, seq) WHERE state = 0;
CREATE INDEX jobs_delayed ON jobs (part, run_at_ms, seq) WHERE state = 1;
CREATE INDEX jobs_parked ON jobs (app, shop, seq) WHERE state = 2;
CREATE UNIQUE INDEX jobs_id ON jobs (app, shop, id) WHERE id IS NOT NULL;
CREATE INDEX jobs_delivery ON jobs (delivery_seq) WHERE delivery_seq IS NOT NULL;

-- What ran, and what became of it.
CREATE TABLE invocations (
    seq INTEGER PRIMARY KEY,
    app TEXT NOT NULL,
    shop TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    delivery_seq INTEGER,
    job_seq INTEGER,
    job_id TEXT,
    plugin TEXT,
    version TEXT,
    action TEXT,
    phase TEXT,
    outcome TEXT NOT NULL,
    detail TEXT,
    attempt INTEGER NOT NULL,
    duration_us INTEGER NOT NULL
) STRICT;
CREATE INDEX invocations_delivery ON invocations (delivery_seq) WHERE delivery_seq IS NOT NULL;
-- With `seq`, so that the newest entry of an id is found among any number of them.
CREATE INDEX invocations_job ON invocations (app, shop, job_id, seq) WHERE job_id IS NOT NULL;
CREATE INDEX invocations_shop ON invocations (app, shop, seq);

-- The models of each app as they were deployed, and the indexes and views that were made for them.
CREATE TABLE deployments (
    app TEXT NOT NULL PRIMARY KEY,
    models TEXT NOT NULL,
    objects TEXT NOT NULL,
    deployed_ms INTEGER NOT NULL
) STRICT;

-- What each shop keeps, in step with the tables above. A shop's usage is the sum of its lines: line 0 is changed by
-- everything but deliveries on PostgreSQL, which have lines of their own so that they never wait for a job's transaction.
-- `version` counts the changes of a line.
CREATE TABLE usage (
    app TEXT NOT NULL,
    shop TEXT NOT NULL,
    line INTEGER NOT NULL,
    version INTEGER NOT NULL,
    jobs INTEGER NOT NULL,
    job_bytes INTEGER NOT NULL,
    records INTEGER NOT NULL,
    record_bytes INTEGER NOT NULL,
    body_bytes INTEGER NOT NULL,
    log_bytes INTEGER NOT NULL,
    PRIMARY KEY (app, shop, line)
) STRICT, WITHOUT ROWID;
