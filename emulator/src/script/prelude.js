// The server-side API of Cosmos DB on top of one native function.
//
// `host(op, ...strings)` is the only way out of the engine. Document operations answer
// `[status, text, continuation]`: a JSON text, or an error body when `status` is 400 or more.
// Evaluates to a function that installs the globals and returns the entry points for the host. `language` is
// what language.js returned.
(function install(host, language) {
  'use strict';

  // Scripts may replace what they like; the API keeps working with what it found.
  const { parse, stringify } = JSON;
  const { apply } = Reflect;
  const uncurry = Function.prototype.bind.bind(Function.prototype.call);
  const { create, defineProperty, freeze, keys } = Object;
  const wellFormed = uncurry(String.prototype.toWellFormed);
  const startsWith = uncurry(String.prototype.startsWith);
  const endsWith = uncurry(String.prototype.endsWith);
  const includes = uncurry(String.prototype.includes);
  const slice = uncurry(String.prototype.slice);
  const { NumberedError, defineGlobal } = language;

  const messages = freeze({
    optionsNotValid: 'The "options" parameter must be of type "object". Actual type is: "%s".',
    callbackNotValid: 'The "callback" parameter must be of type "function". Actual type is: "%s".',
    collectionLinkNotValid: 'Invalid collection link: "%s".',
    documentLinkNotValid: 'Invalid document link: "%s".',
    linkNotInContext:
      'Function is not allowed to operate on resources outside current collection. ' +
      'Make sure that the link provided, "%s", belongs to current collection.',
    tooFewArguments: 'The function "%s" requires at least %s argument(s) but was called with %s argument(s).',
    bodyNotValid: 'The document body must be an object or a string representing a JSON-serialized object.',
    parameterNotValid: 'The "%s" parameter must be of type %s. Actual type is: "%s".',
    notSupported: 'The function "%s" is not supported by this emulator.',
    notWritable: 'Not a writable property: %s',
    noNewValues: 'Cannot set new values: %s',
    tooLarge:
      'Resulting message would be too large because of "%s". Return from script with current message ' +
      'and use continuation token to call the script again or modify your script.',
    logFormat: 'First argument to console.log should be a string containing zero or more substitution strings.',
  });

  const ErrorCodes = freeze({
    BadRequest: 400,
    Forbidden: 403,
    NotFound: 404,
    Conflict: 409,
    PreconditionFailed: 412,
    RequestEntityTooLarge: 413,
    RetryWith: 449,
    InternalServerError: 500,
  });

  const LOG_RESULTS = 'x-ms-documentdb-script-log-results';

  let settings;
  // How links to the collection's documents begin.
  let selfDocuments;
  let altDocuments;

  // ---- Errors ---------------------------------------------------------------------------------

  function format(template, values) {
    let next = 0;
    return template.replace(/%(%|s)/g, (match, kind) => (kind === '%' ? '%' : String(values[next++])));
  }

  function fail(number, template, ...values) {
    return new NumberedError(number, format(template, values));
  }

  // The error of a failed operation, as callbacks get it.
  function operationError(status, body) {
    const error = new NumberedError(status, body);
    error.body = body;
    return error;
  }

  // ---- Operations: queued, run one after another when the script's turn is over ----------------

  let first;
  let last;

  // Whether the operation was queued; false when the budget of the run is nearly used.
  function enqueue(run) {
    if (!host('accept')) return false;
    const entry = { run, next: undefined };
    if (first === undefined) first = entry;
    else last.next = entry;
    last = entry;
    return true;
  }

  // Runs the oldest operation and its callback. False when there is none.
  function pump() {
    const entry = first;
    if (entry === undefined) return false;
    first = entry.next;
    entry.run();
    return true;
  }

  const text = (value) => wellFormed(String(value));

  // Documents get `_ts` at commit: what the script itself wrote has none yet.
  const written = new Set();
  const wrote = written.add.bind(written);
  const isWritten = written.has.bind(written);

  function withoutTimestamp(document) {
    if (document && typeof document === 'object' && isWritten(document._rid)) delete document._ts;
    return document;
  }

  function parseRows(rows) {
    const documents = parse(rows);
    if (written.size > 0) {
      for (let i = 0; i < documents.length; i++) withoutTimestamp(documents[i]);
    }
    return documents;
  }

  function sizes(extra) {
    return { currentCollectionSizeInMB: '', maxCollectionSizeInMB: '', ...extra };
  }

  // Without a callback an error has nobody to handle it and ends the script.
  function failed(reply, callback) {
    if (reply[0] < 400) return false;
    const error = operationError(reply[0], reply[1]);
    if (!callback) throw error;
    callback(error);
    return true;
  }

  function queueWrite(callback, ...request) {
    return enqueue(() => {
      const reply = host(...request);
      if (failed(reply, callback)) return;
      const document = parse(reply[1]);
      wrote(document._rid);
      if (callback) callback(undefined, withoutTimestamp(document), sizes({ statusCode: reply[0] }));
    });
  }

  function queueFeed(callback, ...request) {
    return enqueue(() => {
      const reply = host(...request);
      if (failed(reply, callback)) return;
      if (callback) callback(undefined, parseRows(reply[1]), sizes({ continuation: reply[2] }));
    });
  }

  // A page of documents at once, for code that is itself a queued operation.
  function readPage(continuation) {
    const reply = host('feed', '', continuation);
    failed(reply, undefined);
    return { documents: parseRows(reply[1]), continuation: reply[2] };
  }

  // ---- Checks of arguments ---------------------------------------------------------------------

  function need(name, least, given) {
    if (given < least) throw fail(ErrorCodes.BadRequest, messages.tooFewArguments, name, least, given);
  }

  function optionsAndCallback(options, callback) {
    if (typeof options === 'function' && callback === undefined) return { options: {}, callback: options };
    if (options !== undefined && typeof options !== 'object') {
      throw fail(ErrorCodes.BadRequest, messages.optionsNotValid, typeof options);
    }
    if (callback !== undefined && typeof callback !== 'function') {
      throw fail(ErrorCodes.BadRequest, messages.callbackNotValid, typeof callback);
    }
    return { options: options === undefined ? {} : options, callback };
  }

  // `count` segments, or one more when the link ends in '/'; `names` at the even places.
  function segmentsOf(link, names, message) {
    const segments = typeof link === 'string' ? link.split('/') : [];
    const count = names.length * 2;
    const named = names.every((name, i) => segments[i * 2] !== undefined && segments[i * 2].toLowerCase() === name);
    const trailing = segments.length === count + 1 && segments[count] === '';
    if (!named || !(segments.length === count || trailing)) throw fail(ErrorCodes.BadRequest, message, link);
    return segments;
  }

  function checkCollectionLink(link) {
    if (link === settings.selfLink || link === settings.altLink) return;
    segmentsOf(link, ['dbs', 'colls'], messages.collectionLinkNotValid);
    throw fail(ErrorCodes.BadRequest, messages.linkNotInContext, link);
  }

  // What follows `prefix` in a document's link of the usual form. Most links are, and taking them apart is dear.
  function keyAfter(prefix, link) {
    if (typeof link !== 'string' || !startsWith(link, prefix)) return undefined;
    const key = slice(link, prefix.length, endsWith(link, '/') ? -1 : undefined);
    return includes(key, '/') ? undefined : key;
  }

  // How the host is to find the document: `[kind, key]`.
  function documentOf(link) {
    const rid = keyAfter(selfDocuments, link);
    if (rid !== undefined) return ['rid', text(rid)];
    const id = keyAfter(altDocuments, link);
    if (id !== undefined) return ['id', text(id)];
    const segments = segmentsOf(link, ['dbs', 'colls', 'docs'], messages.documentLinkNotValid);
    if (link.startsWith(settings.selfLink)) return ['rid', text(segments[5])];
    if (link.startsWith(settings.altLink + '/')) return ['id', text(segments[5])];
    throw fail(ErrorCodes.BadRequest, messages.linkNotInContext, link);
  }

  function checkBody(body) {
    if (body === null || (typeof body !== 'object' && typeof body !== 'string')) {
      throw fail(ErrorCodes.BadRequest, messages.bodyNotValid);
    }
  }

  // The JSON text of a new document, with an id made up when it has none.
  function newDocument(body, options) {
    if (options.disableAutomaticIdGeneration !== true) {
      const object = typeof body === 'string' ? parse(body) : body;
      if (typeof object === 'object' && object !== null && !object.id) {
        // A copy, as the script's object is not ours to change.
        const clone = {};
        for (const name in object) clone[name] = object[name];
        clone.id = host('guid');
        return stringify(clone);
      }
    }
    return typeof body === 'string' ? text(body) : stringify(body);
  }

  function pageOf(options) {
    const size = Number(options.pageSize || 100);
    if (size !== -1 && !(size >= 1)) {
      throw fail(ErrorCodes.BadRequest, messages.parameterNotValid, 'pageSize', '"number"', typeof options.pageSize);
    }
    return [text(size === -1 ? '' : Math.floor(size)), text(options.continuation || '')];
  }

  // ---- Collection ------------------------------------------------------------------------------

  const collection = {
    getSelfLink() {
      return settings.selfLink;
    },

    getAltLink() {
      return settings.altLink;
    },

    readDocument(documentLink, options, callback) {
      need('readDocument', 1, arguments.length);
      const document = documentOf(documentLink);
      ({ options, callback } = optionsAndCallback(options, callback));
      const ifNoneMatch = text(options.ifNoneMatch || '');
      return enqueue(() => {
        const reply = host('read', document[0], document[1], ifNoneMatch);
        if (failed(reply, callback) || !callback) return;
        if (reply[0] === 304) callback(undefined, undefined, sizes({ notModified: true }));
        else callback(undefined, withoutTimestamp(parse(reply[1])), sizes({ notModified: false, statusCode: 200 }));
      });
    },

    readDocuments(collectionLink, options, callback) {
      need('readDocuments', 1, arguments.length);
      checkCollectionLink(collectionLink);
      ({ options, callback } = optionsAndCallback(options, callback));
      const page = pageOf(options);
      return queueFeed(callback, 'feed', page[0], page[1]);
    },

    queryDocuments(collectionLink, filterQuery, options, callback) {
      need('queryDocuments', 2, arguments.length);
      checkCollectionLink(collectionLink);
      const sql = typeof filterQuery === 'object' && filterQuery !== null ? filterQuery.query : filterQuery;
      if (typeof sql !== 'string') {
        const expected = '"string" or "object"';
        throw fail(ErrorCodes.BadRequest, messages.parameterNotValid, 'filterQuery', expected, typeof filterQuery);
      }
      ({ options, callback } = optionsAndCallback(options, callback));
      const parameters = stringify(filterQuery.parameters || []);
      const page = pageOf(options);
      return queueFeed(callback, 'query', text(sql), parameters, page[0], page[1]);
    },

    createDocument(collectionLink, body, options, callback) {
      need('createDocument', 2, arguments.length);
      checkBody(body);
      checkCollectionLink(collectionLink);
      ({ options, callback } = optionsAndCallback(options, callback));
      return queueWrite(callback, 'create', newDocument(body, options));
    },

    upsertDocument(collectionLink, body, options, callback) {
      need('upsertDocument', 2, arguments.length);
      checkBody(body);
      checkCollectionLink(collectionLink);
      ({ options, callback } = optionsAndCallback(options, callback));
      return queueWrite(callback, 'upsert', newDocument(body, options), text(options.etag || ''));
    },

    replaceDocument(documentLink, document, options, callback) {
      need('replaceDocument', 2, arguments.length);
      const target = documentOf(documentLink);
      checkBody(document);
      const body = typeof document === 'string' ? text(document) : stringify(document);
      ({ options, callback } = optionsAndCallback(options, callback));
      return queueWrite(callback, 'replace', target[0], target[1], body, text(options.etag || ''));
    },

    deleteDocument(documentLink, options, callback) {
      need('deleteDocument', 1, arguments.length);
      const target = documentOf(documentLink);
      ({ options, callback } = optionsAndCallback(options, callback));
      const etag = text(options.etag || '');
      return enqueue(() => {
        const reply = host('delete', target[0], target[1], etag);
        if (!failed(reply, callback) && callback) callback(undefined, sizes({ statusCode: 204 }));
      });
    },
  };

  for (const name of ['create', 'read', 'replace', 'upsert', 'delete', 'query']) {
    const method = name + (name === 'query' ? 'Attachments' : 'Attachment');
    collection[method] = () => {
      throw fail(ErrorCodes.BadRequest, messages.notSupported, method);
    };
  }
  collection.readAttachments = () => {
    throw fail(ErrorCodes.BadRequest, messages.notSupported, 'readAttachments');
  };

  // The JavaScript query API is a file of its own, which few scripts need.
  let queryApi;
  const loadQueryApi = () => {
    const natives = { parse, stringify, freeze, keys };
    return host('queryApi')({
      ...natives, collection, enqueue, readPage, optionsAndCallback, pageOf, fail, sizes, getResponse: () => response,
    });
  };
  for (const name of ['filter', 'map', 'sortBy', 'sortByDescending', 'pluck', 'flatten', 'unwind', 'chain']) {
    collection[name] = (...given) => {
      queryApi ??= loadQueryApi();
      return queryApi[name](...given);
    };
  }
  collection.spatial = {};
  for (const name of ['distance', 'intersects', 'isValid', 'isValidDetailed', 'within']) {
    collection.spatial[name] = () => {
      throw fail(ErrorCodes.BadRequest, messages.notSupported, 'spatial.' + name);
    };
  }
  defineProperty(collection, 'getPartitionKeyDefinition', { value: () => parse(settings.partitionKey) });

  // ---- Request, response, context --------------------------------------------------------------

  // Accessors are made from the properties: `getX`, and `setX`/`appendX` for the writable ones.
  function propertyMap(properties) {
    const map = {};
    const sizeOf = {};
    const limitOf = (name) => (name === LOG_RESULTS ? settings.maxLog : settings.maxBody);

    function writable(name) {
      const property = properties[name];
      if (property === undefined) throw fail(ErrorCodes.BadRequest, messages.noNewValues, name);
      if (!property.isWritable) throw fail(ErrorCodes.Forbidden, messages.notWritable, name);
      return property;
    }

    // Sizes are counted in UTF-16 units, as the service does.
    function measure(name, value, before) {
      if (value === undefined || value === null) return before;
      const size = before + (typeof value === 'object' ? stringify(value) : value.toString()).length;
      if (size > limitOf(name)) throw fail(ErrorCodes.RequestEntityTooLarge, messages.tooLarge, name);
      return size;
    }

    function set(name, value) {
      if (name === undefined) return;
      const property = writable(name);
      sizeOf[name] = measure(name, value, 0);
      property.value = value;
    }

    function append(name, value) {
      if (name === undefined) return;
      const property = writable(name);
      const current = property.value;
      if (typeof current === 'string') {
        sizeOf[name] = measure(name, value, sizeOf[name] || 0);
        property.value = current + value;
      } else {
        set(name, current === undefined || current === null ? value : current + value);
      }
    }

    const get = (name) => (name === undefined ? undefined : properties[name].value);
    let anyWritable = false;
    for (const name of Object.keys(properties)) {
      if (properties[name].isWritable) {
        anyWritable = true;
        map['set' + name] = (value) => set(name, value);
        map['append' + name] = (value) => append(name, value);
      }
      map['get' + name] = () => get(name);
    }
    if (anyWritable) {
      map.setValue = set;
      map.appendValue = append;
    }
    map.getValue = get;
    return map;
  }

  let requestProperties;
  let request;
  // Pre-triggers have none.
  let response;

  function installRequestAndResponse(role) {
    requestProperties = { __proto__: null, Body: { value: undefined, isWritable: role === 'pre' } };
    if (role !== 'procedure') requestProperties.OperationType = { value: settings.operation, isWritable: false };
    request = propertyMap(requestProperties);
    context.getRequest = () => request;
    shortcut.request = request;
    if (role === 'pre') return;
    const body = role === 'post' && settings.response !== '' ? parse(settings.response) : '';
    const responseProperties = {
      __proto__: null,
      Body: { value: body, isWritable: true },
      [LOG_RESULTS]: { value: '', isWritable: true },
    };
    if (role === 'post') {
      responseProperties.MaxResourceQuota = { value: settings.quota, isWritable: false };
      responseProperties.ResourceQuotaCurrentUsage = { value: settings.usage, isWritable: false };
    }
    response = propertyMap(responseProperties);
    context.getResponse = () => response;
    shortcut.response = response;
  }

  const context = {
    getCollection: () => collection,
    abort(error) {
      const description = language.describe(error, settings.file);
      host('abort', description[0], description[1]);
    },
  };

  // ---- Globals ---------------------------------------------------------------------------------

  function installConsole(enabled) {
    const console = () => {};
    console.log = !enabled || response === undefined
      ? () => {}
      : (...values) => {
          need('log', 1, values.length);
          if (values.length > 1 && typeof values[0] !== 'string') {
            throw fail(ErrorCodes.BadRequest, messages.logFormat);
          }
          const line = values.length > 1 ? format(values[0], values.slice(1)) : values[0];
          response.appendValue(LOG_RESULTS, line);
          host('log', text(response.getValue(LOG_RESULTS)));
        };
    defineGlobal('console', console);
  }

  defineGlobal('ErrorCodes', ErrorCodes);
  defineGlobal('getContext', () => context);
  const random = { random: () => host('random') }.random;
  defineProperty(Math, 'random', { value: random, writable: true, configurable: true });
  const shortcut = create(collection);
  defineGlobal('__', shortcut);

  // ---- Entry points for the host ---------------------------------------------------------------

  return {
    // Everything that depends on the call.
    begin(json) {
      settings = parse(json);
      selfDocuments = settings.selfLink + 'docs/';
      altDocuments = settings.altLink + '/docs/';
      installRequestAndResponse(settings.role);
      installConsole(settings.logging);
      if (settings.clockOffset !== 0) language.shiftClock(settings.clockOffset);
      if (settings.refuseNewer) language.removeNewer();
    },
    start(main, body) {
      requestProperties.Body.value = body;
      const isList = settings.role === 'procedure' && body !== undefined && body !== null;
      apply(main, undefined, isList ? body : []);
    },
    pump,
    describe: (thrown) => language.describe(thrown, settings.file),
    // What the run leads to as JSON text: the response body, or after a pre-trigger the request body. Checked again, as an object may have grown since `setBody`.
    finish() {
      const body = stringify((response || request).getBody());
      if (body === undefined) return response === undefined ? '' : '""';
      if (body.length > settings.maxBody + 2) {
        throw fail(ErrorCodes.RequestEntityTooLarge, messages.tooLarge, 'Body');
      }
      return body;
    },
  };
});
