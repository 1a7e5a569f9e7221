// The JavaScript query API: `__.filter(...)`, `__.chain().map(...).value()` and their kin.
//
// The service turns the functions into index look-ups where it can; this runs them over the documents of the
// partition, one by one. Evaluates to a function that returns the methods. It runs when a script first uses one
// of them, so whatever it needs of the globals comes with `api`, as the script may have replaced them.
(function queryApi(api) {
  'use strict';

  const { collection, enqueue, readPage, optionsAndCallback, pageOf, fail, sizes, getResponse } = api;
  const { parse, stringify, freeze, keys } = api;
  const BAD_REQUEST = 400;

  const messages = freeze({
    callbackInChain: 'When using "chain", the callback parameter can only be provided on the "value" function.',
    optionsInChain: 'When using "chain", options can only be provided on the call to the "value" function',
    selectorRequired: 'When using "unwind", "collectionSelector" must be used.',
    selectorNotFunction: 'When using "unwind", "collectionSelector" must be a function.',
    selectorArguments: '"collectionSelector" requires one argument.',
    resultArguments: '"resultSelector" requires two arguments.',
    missingPredicate: 'The predicate/transform function must be provided.',
    callbackWithoutResponse:
      'The callback function must be provided for scenarios, such as pre-trigger, when response object is not available.',
    wrongProperty: 'The property name must be a string and cannot be empty.',
  });

  function check(condition, message) {
    if (!condition) throw fail(BAD_REQUEST, message);
  }

  // ---- Steps: functions from an array of rows to another one -----------------------------------

  function flatten(rows, isShallow) {
    const flat = [];
    for (const row of rows) {
      if (!Array.isArray(row)) flat.push(row);
      else for (const item of isShallow ? row : flatten(row, false)) flat.push(item);
    }
    return flat;
  }

  function unwind(rows, collectionSelector, resultSelector) {
    const unwound = [];
    for (const row of rows) {
      const items = collectionSelector(row);
      if (!resultSelector) unwound.push(...[].concat(items));
      else items.forEach((item) => unwound.push(...[].concat(resultSelector(row, item))));
    }
    return unwound;
  }

  // The order of types in ORDER BY.
  function rank(value) {
    if (value === null) return 1;
    const place = ['undefined', 'null', 'boolean', 'number', 'string'].indexOf(typeof value);
    return place === -1 ? 5 : place;
  }

  function compare(left, right) {
    const byType = rank(left) - rank(right);
    if (byType !== 0) return byType;
    if (left < right) return -1;
    return left > right ? 1 : 0;
  }

  function sort(rows, iteratee, direction) {
    const keyed = rows.map((row) => ({ row, key: iteratee(row) }));
    keyed.sort((left, right) => direction * compare(left.key, right.key));
    return keyed.map((entry) => entry.row);
  }

  function runSteps(steps, rows) {
    for (const step of steps) rows = step.run(rows);
    return rows;
  }

  // ---- Running over the documents of the partition ---------------------------------------------

  // Document by document, so that a page ends where it is full; the continuation is a page of documents and
  // how many of them are done.
  function stream(steps, limit, continuation) {
    let [from, skip] = continuation === '' ? ['', 0] : parse(continuation);
    const rows = [];
    for (;;) {
      const page = readPage(from);
      for (let i = skip; i < page.documents.length; i++) {
        for (const row of runSteps(steps, [page.documents[i]])) rows.push(row);
        if (rows.length >= limit) {
          const more = i + 1 < page.documents.length || page.continuation !== '';
          return { rows, continuation: more ? stringify([from, i + 1]) : '' };
        }
      }
      if (page.continuation === '') return { rows, continuation: '' };
      from = page.continuation;
      skip = 0;
    }
  }

  // Sorting needs all of them; the continuation is how many results are done.
  function sorted(steps, limit, continuation) {
    const firstSort = steps.findIndex((step) => step.sorts);
    const all = stream(steps.slice(0, firstSort), Infinity, '').rows;
    const rows = runSteps(steps.slice(firstSort), all);
    const start = continuation === '' ? 0 : parse(continuation);
    const end = Math.min(start + limit, rows.length);
    return { rows: rows.slice(start, end), continuation: end < rows.length ? String(end) : '' };
  }

  // Without a callback the result goes to the response.
  function respond(error, rows) {
    if (error) throw error;
    const response = getResponse();
    check(response !== undefined, messages.callbackWithoutResponse);
    response.appendBody(stringify(rows));
  }

  function queue(steps, optionsGiven, callbackGiven) {
    const { options, callback } = optionsAndCallback(optionsGiven, callbackGiven);
    const [size, continuation] = pageOf(options);
    const limit = size === '' ? Infinity : Number(size);
    const done = callback || respond;
    const isAccepted = enqueue(() => {
      let result;
      try {
        const run = steps.some((step) => step.sorts) ? sorted : stream;
        result = run(steps, limit, continuation);
      } catch (error) {
        done(error);
        return;
      }
      done(undefined, result.rows, sizes({ continuation: result.continuation }));
    });
    return { isAccepted };
  }

  // ---- The methods -----------------------------------------------------------------------------

  // Each takes the arguments and answers `[step, how many it used]`.
  const makers = {
    filter: (args) => {
      check(typeof args[0] === 'function', messages.missingPredicate);
      return [{ run: (rows) => rows.filter((row) => args[0](row)) }, 1];
    },
    map: (args) => {
      check(typeof args[0] === 'function', messages.missingPredicate);
      return [{ run: (rows) => rows.map((row) => args[0](row)) }, 1];
    },
    sortBy: (args) => {
      check(typeof args[0] === 'function', messages.missingPredicate);
      return [{ run: (rows) => sort(rows, args[0], 1), sorts: true }, 1];
    },
    sortByDescending: (args) => {
      check(typeof args[0] === 'function', messages.missingPredicate);
      return [{ run: (rows) => sort(rows, args[0], -1), sorts: true }, 1];
    },
    pluck: (args) => {
      check(typeof args[0] === 'string' && args[0] !== '', messages.wrongProperty);
      return [{ run: (rows) => rows.map((row) => row[args[0]]) }, 1];
    },
    flatten: (args) => {
      const isShallow = args[0] === true;
      return [{ run: (rows) => flatten(rows, isShallow) }, typeof args[0] === 'boolean' ? 1 : 0];
    },
    unwind: (args) => {
      const [collectionSelector, resultSelector] = args;
      check(collectionSelector, messages.selectorRequired);
      check(typeof collectionSelector === 'function', messages.selectorNotFunction);
      check(collectionSelector.length === 1, messages.selectorArguments);
      const withResult = typeof resultSelector === 'function';
      check(!withResult || resultSelector.length >= 2, messages.resultArguments);
      const step = { run: (rows) => unwind(rows, collectionSelector, withResult ? resultSelector : undefined) };
      return [step, withResult ? 2 : 1];
    },
  };

  // All methods take the collection as an optional first argument.
  function withoutCollection(args) {
    const isCollection = args[0] === collection || collection.isPrototypeOf(args[0]);
    return isCollection || (args.length > 1 && args[0] === undefined) ? args.slice(1) : args;
  }

  function chained(steps) {
    const query = { isAccepted: true };
    for (const name of keys(makers)) {
      query[name] = (...given) => {
        const args = withoutCollection(given);
        const [step, used] = makers[name](args);
        for (const extra of args.slice(used)) {
          check(typeof extra !== 'function', messages.callbackInChain);
          check(!extra, messages.optionsInChain);
        }
        return chained([...steps, step]);
      };
    }
    query.value = (options, callback) => queue(steps, options, callback);
    return query;
  }

  const methods = { chain: () => chained([]) };
  for (const name of keys(makers)) {
    methods[name] = (...given) => {
      const args = withoutCollection(given);
      const [step, used] = makers[name](args);
      return queue([step], args[used], args[used + 1]);
    };
  }
  return methods;
});
