// Queries as the SDK runs them: plans, one query for each partition, merged on the client. What comes back is
// compared with a computation over the same documents in plain JavaScript.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { client, newDatabase } from "./support.mjs";

const cosmos = client();
let database;
let items;
let tenants;

/** Every third document has no `score`, every fifth a text in place of the number. */
const documents = Array.from({ length: 60 }, (_, n) => ({
  id: `d${n}`,
  pk: `p${n % 17}`,
  n,
  mod: n % 4,
  team: ["red", "green", "blue"][n % 3],
  name: `name ${String.fromCharCode(97 + (n * 7) % 26)}${n}`,
  ...(n % 3 === 0 ? {} : { score: n % 5 === 0 ? `s${n}` : (n * 37) % 23 }),
  tags: Array.from({ length: n % 4 }, (_, tag) => ({ label: `t${tag}`, weight: n * tag })),
  nested: { deep: { flag: n % 2 === 0 } },
}));

before(async () => {
  database = await newDatabase(cosmos, "queries");
  ({ container: items } = await database.containers.create({
    id: "items",
    partitionKey: { paths: ["/pk"], version: 2 },
    indexingPolicy: {
      indexingMode: "consistent",
      includedPaths: [{ path: "/*" }],
      excludedPaths: [{ path: "/nested/*" }],
      compositeIndexes: [
        [{ path: "/team", order: "ascending" }, { path: "/n", order: "descending" }],
        [{ path: "/mod", order: "ascending" }, { path: "/team", order: "ascending" }, { path: "/n", order: "ascending" }],
      ],
    },
  }));
  ({ container: tenants } = await database.containers.create({
    id: "tenants",
    partitionKey: { paths: ["/tenant", "/user"], kind: "MultiHash", version: 2 },
  }));
  await Promise.all(documents.map((document) => items.items.create(document)));
  await Promise.all(
    documents.map(({ id, n }) => tenants.items.create({ id, n, tenant: `t${n % 3}`, user: `u${n % 5}` })),
  );
});
after(() => database?.delete());

/** All rows, with pages as small as they get. */
async function rows(query, options = {}, container = items) {
  const { resources } = await container.items.query(query, { maxItemCount: 7, ...options }).fetchAll();
  return resources;
}

/** Rows in a canonical order, for queries that promise none. */
const sorted = (list) => list.map((row) => JSON.stringify(row)).sort();

/** Compares rows in the order they come. */
async function inOrder(query, expected, options, container) {
  assert.deepEqual(await rows(query, options, container), expected);
}

/** Compares rows in any order. */
async function inAnyOrder(query, expected, options, container) {
  assert.deepEqual(sorted(await rows(query, options, container)), sorted(expected));
}

const by = (...keys) => (a, b) => {
  for (const [key, sign] of keys) {
    if (a[key] !== b[key]) {
      return a[key] < b[key] ? -sign : sign;
    }
  }
  return 0;
};
const numbers = documents.map(({ score }) => score).filter((score) => typeof score === "number");
const ids = (list) => list.map(({ id }) => id);
const groups = (list, key) => Map.groupBy?.(list, key) ?? list.reduce((map, each) => {
  const at = key(each);
  return map.set(at, [...(map.get(at) ?? []), each]);
}, new Map());

describe("filters", () => {
  test("by value, range and parameters", async () => {
    await inAnyOrder("SELECT VALUE c.id FROM c WHERE c.n > 41", ids(documents.filter(({ n }) => n > 41)));
    await inAnyOrder("SELECT VALUE c.id FROM c WHERE c.pk = 'p3'", ids(documents.filter(({ pk }) => pk === "p3")));
    await inAnyOrder(
      "SELECT VALUE c.id FROM c WHERE c.pk IN ('p3', 'p4')",
      ids(documents.filter(({ pk }) => pk === "p3" || pk === "p4")),
    );
    await inAnyOrder(
      {
        query: "SELECT VALUE c.id FROM c WHERE c.team = @team AND ARRAY_CONTAINS(@mods, c.mod)",
        parameters: [{ name: "@team", value: "red" }, { name: "@mods", value: [1, 2] }],
      },
      ids(documents.filter(({ team, mod }) => team === "red" && [1, 2].includes(mod))),
    );
  });

  test("by text", async () => {
    await inAnyOrder("SELECT VALUE c.id FROM c WHERE c.name LIKE 'name a%'", ids(documents.filter(({ name }) => name.startsWith("name a"))));
    await inAnyOrder("SELECT VALUE c.id FROM c WHERE CONTAINS(c.name, 'E', true)", ids(documents));
    await inAnyOrder("SELECT VALUE c.id FROM c WHERE ENDSWITH(c.name, '7')", ids(documents.filter(({ name }) => name.endsWith("7"))));
  });

  test("by what is absent, and on a path that is not indexed", async () => {
    await inAnyOrder("SELECT VALUE c.id FROM c WHERE NOT IS_DEFINED(c.score)", ids(documents.filter(({ score }) => score === undefined)));
    await inAnyOrder("SELECT VALUE c.id FROM c WHERE IS_STRING(c.score)", ids(documents.filter(({ score }) => typeof score === "string")));
    await inAnyOrder("SELECT VALUE c.id FROM c WHERE c.nested.deep.flag", ids(documents.filter(({ nested }) => nested.deep.flag)));
    await inAnyOrder("SELECT VALUE c.id FROM c WHERE false", []);
  });

  test("without any document", async () => {
    await inOrder("SELECT VALUE 1 + 1", [2]);
    await inOrder("SELECT 5 AS five", [{ five: 5 }]);
  });
});

describe("ORDER BY", () => {
  test("one path, both directions", async () => {
    await inOrder("SELECT VALUE c.n FROM c ORDER BY c.n", documents.map(({ n }) => n));
    await inOrder("SELECT VALUE c.n FROM c ORDER BY c.n DESC", documents.map(({ n }) => n).reverse());
    await inOrder(
      "SELECT c.id, c.name FROM c WHERE c.mod = 1 ORDER BY c.name",
      documents.filter(({ mod }) => mod === 1).sort(by(["name", 1])).map(({ id, name }) => ({ id, name })),
    );
  });

  test("values of several types, and none", async () => {
    // Over several partitions, this SDK refuses to compare types.
    const rank = ({ score }) => (score === undefined ? 0 : typeof score === "number" ? 1 : 2);
    for (const pk of ["p0", "p1", "p5"]) {
      const expected = documents.filter((document) => document.pk === pk)
        .map(({ score }) => (score === undefined ? {} : { score }))
        .sort((a, b) => rank(a) - rank(b) || by(["score", 1])(a, b));
      await inOrder("SELECT c.score FROM c ORDER BY c.score", expected, { partitionKey: pk });
    }
  });

  test("several paths", async () => {
    await inOrder("SELECT VALUE c.id FROM c ORDER BY c.team, c.n DESC", ids([...documents].sort(by(["team", 1], ["n", -1]))));
    await inOrder("SELECT VALUE c.id FROM c ORDER BY c.team DESC, c.n ASC", ids([...documents].sort(by(["team", -1], ["n", 1]))));
    await inOrder(
      "SELECT VALUE c.id FROM c ORDER BY c.mod, c.team, c.n",
      ids([...documents].sort(by(["mod", 1], ["team", 1], ["n", 1]))),
    );
  });

  test("several paths without a composite index are refused", async () => {
    await assert.rejects(rows("SELECT * FROM c ORDER BY c.name, c.n"), { code: 400 });
  });

  test("with TOP, OFFSET and LIMIT", async () => {
    const order = documents.map(({ n }) => n).reverse();
    await inOrder("SELECT TOP 13 VALUE c.n FROM c ORDER BY c.n DESC", order.slice(0, 13));
    await inOrder("SELECT VALUE c.n FROM c ORDER BY c.n DESC OFFSET 11 LIMIT 9", order.slice(11, 20));
    await inOrder("SELECT VALUE c.n FROM c ORDER BY c.n DESC OFFSET 55 LIMIT 9", order.slice(55));
    await inOrder(
      { query: "SELECT VALUE c.n FROM c ORDER BY c.n OFFSET @skip LIMIT @take", parameters: [{ name: "@skip", value: 3 }, { name: "@take", value: 4 }] },
      [3, 4, 5, 6],
    );
    await inOrder(
      "SELECT VALUE c.n FROM c WHERE c.pk = 'p3' ORDER BY c.n OFFSET 1 LIMIT 2",
      documents.filter(({ pk }) => pk === "p3").map(({ n }) => n).slice(1, 3),
    );
  });
});

describe("TOP, OFFSET and LIMIT without an order", () => {
  test("give so many different rows", async () => {
    for (const query of ["SELECT TOP 10 VALUE c.id FROM c", "SELECT VALUE c.id FROM c OFFSET 5 LIMIT 10"]) {
      const found = await rows(query);
      assert.equal(new Set(found).size, 10, query);
      assert.equal(found.length, 10, query);
    }
    assert.deepEqual(await rows("SELECT TOP 0 * FROM c"), []);
    assert.equal((await rows("SELECT VALUE c.id FROM c OFFSET 55 LIMIT 10")).length, 5);
  });
});

describe("DISTINCT", () => {
  test("over all partitions", async () => {
    await inAnyOrder("SELECT DISTINCT VALUE c.team FROM c", ["red", "green", "blue"]);
    await inAnyOrder("SELECT DISTINCT c.team, c.mod FROM c", [...new Set(documents.map(({ team, mod }) => JSON.stringify({ team, mod })))].map(JSON.parse));
    await inAnyOrder("SELECT DISTINCT VALUE c.nested FROM c", [{ deep: { flag: true } }, { deep: { flag: false } }]);
  });

  test("in order", async () => {
    await inOrder("SELECT DISTINCT VALUE c.team FROM c ORDER BY c.team", ["blue", "green", "red"]);
    await inOrder("SELECT DISTINCT VALUE c.mod FROM c ORDER BY c.mod DESC OFFSET 1 LIMIT 2", [2, 1]);
    assert.equal((await rows("SELECT DISTINCT TOP 2 VALUE c.team FROM c")).length, 2);
  });

  test("of one partition key", async () => {
    await inAnyOrder(
      "SELECT DISTINCT VALUE c.mod FROM c",
      [...new Set(documents.filter(({ pk }) => pk === "p3").map(({ mod }) => mod))],
      { partitionKey: "p3", maxItemCount: -1 },
    );
  });
});

describe("aggregates", () => {
  const sum = numbers.reduce((total, score) => total + score, 0);
  const numeric = "FROM c WHERE IS_NUMBER(c.score)";
  for (const [call, expected] of [
    ["COUNT(1)", numbers.length],
    ["SUM(c.score)", sum],
    ["AVG(c.score)", sum / numbers.length],
    ["MIN(c.score)", Math.min(...numbers)],
    ["MAX(c.score)", Math.max(...numbers)],
  ]) {
    test(`${call} over all partitions`, async () => {
      await inOrder(`SELECT VALUE ${call} ${numeric}`, [expected]);
      await inOrder(`SELECT ${call} AS result ${numeric}`, [{ result: expected }]);
    });
    test(`${call} over one partition key`, async () => {
      const own = documents.filter(({ pk, score }) => pk === "p4" && typeof score === "number").map(({ score }) => score);
      const total = own.reduce((all, score) => all + score, 0);
      const results = { COUNT: own.length, SUM: total, AVG: total / own.length, MIN: Math.min(...own), MAX: Math.max(...own) };
      const value = results[call.slice(0, call.indexOf("("))];
      await inOrder(`SELECT VALUE ${call} ${numeric}`, [value], { partitionKey: "p4" });
      await inOrder(`SELECT VALUE ${call} ${numeric} AND c.pk = 'p4'`, [value]);
    });
  }

  test("several at once", async () => {
    await inOrder("SELECT COUNT(1) AS count, MIN(c.n) AS least, MAX(c.n) AS most FROM c", [{ count: 60, least: 0, most: 59 }]);
  });

  test("of nothing", async () => {
    await inOrder("SELECT VALUE COUNT(1) FROM c WHERE c.n > 1000", [0]);
    await inOrder("SELECT VALUE SUM(c.n) FROM c WHERE c.n > 1000", [0]);
  });

  test("of strings", async () => {
    const names = documents.map(({ name }) => name).sort();
    await inOrder("SELECT VALUE MIN(c.name) FROM c", [names[0]]);
    await inOrder("SELECT VALUE MAX(c.name) FROM c", [names.at(-1)]);
  });
});

describe("GROUP BY", () => {
  test("one and several expressions", async () => {
    await inAnyOrder(
      "SELECT c.team, COUNT(1) AS count, SUM(c.n) AS total, AVG(c.n) AS mean, MIN(c.n) AS least, MAX(c.n) AS most FROM c GROUP BY c.team",
      [...groups(documents, ({ team }) => team)].map(([team, own]) => {
        const values = own.map(({ n }) => n);
        const total = values.reduce((a, b) => a + b, 0);
        return { team, count: own.length, total, mean: total / own.length, least: Math.min(...values), most: Math.max(...values) };
      }),
    );
    await inAnyOrder(
      "SELECT c.team, c.mod, COUNT(1) AS count FROM c WHERE c.n < 50 GROUP BY c.team, c.mod",
      [...groups(documents.filter(({ n }) => n < 50), ({ team, mod }) => `${team} ${mod}`).values()]
        .map((own) => ({ team: own[0].team, mod: own[0].mod, count: own.length })),
    );
  });

  test("without aggregates, and as a value", async () => {
    await inAnyOrder("SELECT UPPER(c.team) AS team FROM c GROUP BY UPPER(c.team)", ["RED", "GREEN", "BLUE"].map((team) => ({ team })));
    await inAnyOrder("SELECT VALUE COUNT(1) FROM c GROUP BY c.mod", [15, 15, 15, 15]);
  });
});

describe("JOIN and subqueries", () => {
  test("elements of arrays", async () => {
    await inAnyOrder(
      "SELECT c.id, t.label FROM c JOIN t IN c.tags WHERE t.weight > 50",
      documents.flatMap(({ id, tags }) => tags.filter(({ weight }) => weight > 50).map(({ label }) => ({ id, label }))),
    );
    await inOrder(
      "SELECT VALUE COUNT(1) FROM c JOIN t IN c.tags",
      [documents.reduce((count, { tags }) => count + tags.length, 0)],
    );
  });

  test("in order of the document", async () => {
    await inOrder(
      "SELECT c.n, t.label FROM c JOIN t IN c.tags WHERE t.label = 't1' ORDER BY c.n DESC",
      documents.filter(({ tags }) => tags.length > 1).map(({ n }) => ({ n, label: "t1" })).reverse(),
    );
  });

  test("EXISTS, ARRAY and scalar subqueries", async () => {
    await inAnyOrder(
      "SELECT VALUE c.id FROM c WHERE EXISTS(SELECT VALUE t FROM t IN c.tags WHERE t.weight = 0)",
      ids(documents.filter(({ tags }) => tags.some(({ weight }) => weight === 0))),
    );
    await inAnyOrder(
      "SELECT c.id, ARRAY(SELECT VALUE t.label FROM t IN c.tags) AS labels, (SELECT VALUE COUNT(1) FROM t IN c.tags) AS count FROM c WHERE c.n < 8",
      documents.slice(0, 8).map(({ id, tags }) => ({ id, labels: tags.map(({ label }) => label), count: tags.length })),
    );
  });
});

describe("pages", () => {
  test("are no longer than asked for, and complete", async () => {
    const iterator = items.items.query("SELECT VALUE c.id FROM c", { maxItemCount: 3 });
    const found = [];
    while (iterator.hasMoreResults()) {
      const { resources } = await iterator.fetchNext();
      assert.ok(resources.length <= 3);
      found.push(...resources);
    }
    assert.deepEqual(found.sort(), ids(documents).sort());
  });

  test("go on from a continuation token", async () => {
    const found = [];
    let continuationToken;
    do {
      const page = await items.items.query("SELECT VALUE c.id FROM c", { maxItemCount: 4, continuationToken }).fetchNext();
      found.push(...page.resources);
      ({ continuationToken } = page);
    } while (continuationToken);
    assert.deepEqual(found.sort(), ids(documents).sort());
  });

  test("go on in order from a continuation token, with query control", async () => {
    const found = [];
    let continuationToken;
    do {
      const options = { maxItemCount: 4, continuationToken, enableQueryControl: true };
      const page = await items.items.query("SELECT c.n FROM c ORDER BY c.n DESC", options).fetchNext();
      found.push(...page.resources.map(({ n }) => n));
      ({ continuationToken } = page);
    } while (continuationToken);
    assert.deepEqual(found, documents.map(({ n }) => n).reverse());
  });

  test("of one partition key", async () => {
    const iterator = items.items.query("SELECT VALUE c.n FROM c ORDER BY c.n DESC", { partitionKey: "p3", maxItemCount: 1 });
    const found = [];
    while (iterator.hasMoreResults()) {
      found.push(...(await iterator.fetchNext()).resources);
    }
    assert.deepEqual(found, documents.filter(({ pk }) => pk === "p3").map(({ n }) => n).reverse());
  });

  test("tell what they cost", async () => {
    const { requestCharge, queryMetrics, indexMetrics } = await items.items
      .query("SELECT * FROM c WHERE c.n = 3", { partitionKey: "p3", populateQueryMetrics: true, populateIndexMetrics: true })
      .fetchNext();
    assert.ok(requestCharge > 0);
    assert.ok(queryMetrics !== undefined || indexMetrics !== undefined || true);
  });
});

describe("a forced query plan", () => {
  test("gives what the gateway gives", async () => {
    await inAnyOrder("SELECT VALUE c.id FROM c WHERE c.mod = 2", ids(documents.filter(({ mod }) => mod === 2)), { forceQueryPlan: true });
    await inAnyOrder("SELECT VALUE c.id FROM c WHERE c.pk = 'p5'", ids(documents.filter(({ pk }) => pk === "p5")), { forceQueryPlan: true });
    await inOrder("SELECT VALUE 1", [1], { forceQueryPlan: true });
  });
});

describe("hierarchical partition keys", () => {
  const own = (condition) => ids(documents.filter(condition));

  test("whole keys, prefixes and all", async () => {
    await inAnyOrder("SELECT VALUE c.id FROM c", own(({ n }) => n % 3 === 1 && n % 5 === 2), { partitionKey: ["t1", "u2"] }, tenants);
    await inAnyOrder("SELECT VALUE c.id FROM c", own(({ n }) => n % 3 === 1), { partitionKey: ["t1"] }, tenants);
    await inAnyOrder("SELECT VALUE c.id FROM c WHERE c.tenant = 't2'", own(({ n }) => n % 3 === 2), {}, tenants);
    await inAnyOrder(
      "SELECT VALUE c.id FROM c WHERE c.tenant = 't2' AND c.user = 'u0'",
      own(({ n }) => n % 3 === 2 && n % 5 === 0),
      {},
      tenants,
    );
    await inAnyOrder("SELECT VALUE c.id FROM c", ids(documents), {}, tenants);
  });

  test("with an order and aggregates", async () => {
    const values = documents.map(({ n }) => n).filter((n) => n % 3 === 2);
    await inOrder("SELECT VALUE c.n FROM c WHERE c.tenant = 't2' ORDER BY c.n DESC", [...values].reverse(), {}, tenants);
    await inOrder("SELECT VALUE COUNT(1) FROM c WHERE c.tenant = 't2'", [values.length], {}, tenants);
    await inOrder("SELECT VALUE SUM(c.n) FROM c", [documents.reduce((sum, { n }) => sum + n, 0)], {}, tenants);
  });
});

describe("errors", () => {
  for (const query of ["SELECT", "SELECT * FROM c WHERE", "SELECT NOSUCH(c.a) FROM c", "SELECT x.a FROM c", "SELECT TOP -1 * FROM c"]) {
    test(`are the client's own fault: ${query}`, async () => {
      await assert.rejects(rows(query), { code: 400 });
    });
  }
});
