// PostgreSQL by pg, with prepared statements.

import pg from "pg";

const tables = `
  create table deliveries (
    id text primary key, shop text not null, topic text not null, event text, product bigint not null
  );
  create table products (
    shop text, id bigint, doc text not null, digests text not null, primary key (shop, id)
  );
  create table children (
    shop text, list text, id bigint, product bigint not null, doc text not null, primary key (shop, list, id)
  );
  create index children_of on children (shop, product, list);
`;

const statements = {
  keep: "insert into deliveries values ($1, $2, $3, $4, $5) on conflict do nothing",
  read: "select doc, digests from products where shop = $1 and id = $2 for update",
  write: `insert into products values ($1, $2, $3, $4)
    on conflict (shop, id) do update set doc = excluded.doc, digests = excluded.digests`,
  writeChildren: `insert into children select $1, $2, c.id, $3, c.doc from unnest($4::bigint[], $5::text[]) c (id, doc)
    on conflict (shop, list, id) do update set doc = excluded.doc`,
  dropChildren: "delete from children where shop = $1 and product = $2 and list = $3 and id <> all($4::bigint[])",
};

// For each of two processes: with more, they wait for one another's locks and not for the disk.
const connections = 10;

export async function open(connectionString, isFirst) {
  const pool = new pg.Pool({ connectionString, max: connections });
  if (isFirst) await pool.query(tables);

  async function take({ shop, topic, webhookId, eventId }, id, decide) {
    const client = await pool.connect();
    const run = (name, ...values) => client.query({ name, text: statements[name], values });
    try {
      await client.query("begin");
      let tags = [];
      if ((await run("keep", webhookId, shop, topic, eventId, id)).rowCount > 0) {
        const news = decide((await run("read", shop, id)).rows[0]);
        if (news) {
          await run("write", shop, id, news.doc, news.digests);
          for (const [list, children] of news.children) {
            const ids = children.map((child) => child.id);
            await run("writeChildren", shop, list, id, ids, children.map((child) => JSON.stringify(child)));
            await run("dropChildren", shop, id, list, ids);
          }
          tags = news.tags;
        }
      }
      await client.query("commit");
      return tags;
    } catch (error) {
      await client.query("rollback");
      throw error;
    } finally {
      client.release();
    }
  }

  return { take, close: () => pool.end() };
}
