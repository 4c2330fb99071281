// SQLite by better-sqlite3: a commit outlives a loss of power.

import Database from "better-sqlite3";

const tables = `
  create table deliveries (
    id text primary key, shop text not null, topic text not null, event text, product integer not null
  ) without rowid;
  create table products (
    shop text, id integer, doc text not null, digests text not null, primary key (shop, id)
  ) without rowid;
  create table children (
    shop text, list text, id integer, product integer not null, doc text not null, primary key (shop, list, id)
  ) without rowid;
  create index children_of on children (shop, product, list);
`;

export function open(file, isFirst) {
  const db = new Database(file);
  db.pragma("journal_mode = wal");
  db.pragma("synchronous = full");
  if (isFirst) db.exec(tables);
  const keep = db.prepare("insert into deliveries values (?, ?, ?, ?, ?) on conflict do nothing");
  const read = db.prepare("select doc, digests from products where shop = ? and id = ?");
  const write = db.prepare(
    "insert into products values (?, ?, ?, ?) on conflict do update set doc = excluded.doc, digests = excluded.digests",
  );
  const writeChild = db.prepare(
    "insert into children values (?, ?, ?, ?, ?) on conflict do update set doc = excluded.doc",
  );
  const dropChildren = db.prepare(
    "delete from children where shop = ? and product = ? and list = ? and id not in (select value from json_each(?))",
  );
  const take = db.transaction(({ shop, topic, webhookId, eventId }, id, decide) => {
    if (keep.run(webhookId, shop, topic, eventId, id).changes === 0) return [];
    const news = decide(read.get(shop, id));
    if (!news) return [];
    write.run(shop, id, news.doc, news.digests);
    for (const [list, children] of news.children) {
      for (const child of children) writeChild.run(shop, list, child.id, id, JSON.stringify(child));
      dropChildren.run(shop, id, list, JSON.stringify(children.map((child) => child.id)));
    }
    return news.tags;
  }).immediate;
  return { take };
}
