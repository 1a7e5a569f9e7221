/**
 * Promise-returning access to the documents of the running procedure's logical partition.
 *
 * Operations are awaited one at a time: once the service refuses one (`false`), those queued before it
 * still complete, so anything queued behind a refusal would be half a transaction.
 */

/** Numbers that reach the caller as the sub-status of an HTTP 400. The Rust side knows the same list. */
const Refused = 4001;

/**
 * @param {number} number
 * @param {string} message
 * @returns {Error & {number: number}}
 */
function numberedError(number, message) {
  const error = /** @type {Error & {number: number}} */ (new Error(message));
  error.number = number;
  return error;
}

/**
 * Runs one operation of the collection API and settles with its outcome.
 *
 * @template T
 * @param {string} what
 * @param {(done: (error: IFeedCallbackOptions | any, value?: any) => void) => boolean} operation
 * @returns {Promise<T>}
 */
function perform(what, operation) {
  return new Promise((resolve, reject) => {
    const accepted = operation((error, value) => {
      if (error) {
        reject(error);
      } else {
        resolve(value);
      }
    });
    if (!accepted) {
      reject(numberedError(Refused, "duroxide: " + what + " was refused; nothing has been written"));
    }
  });
}

/**
 * @param {string} id
 * @returns {string}
 */
function linkOf(id) {
  return __.getAltLink() + "/docs/" + id;
}

/**
 * Point read; `null` when the document does not exist.
 *
 * @param {string} id
 * @returns {Promise<any>}
 */
async function read(id) {
  try {
    return await perform("read of " + id, (done) => __.readDocument(linkOf(id), done));
  } catch (error) {
    if (/** @type {any} */ (error).number === ErrorCodes.NotFound) {
      return null;
    }
    throw error;
  }
}

/**
 * @param {any} document
 * @returns {Promise<any>}
 */
function create(document) {
  return perform("create of " + document.id, (done) => __.createDocument(__.getAltLink(), document, done));
}

/**
 * Replaces a document that was read in this run, provided nobody else changed it since.
 *
 * @param {any} document
 * @returns {Promise<any>}
 */
function replace(document) {
  return perform("replace of " + document.id, (done) =>
    __.replaceDocument(linkOf(document.id), document, { etag: document._etag }, done)
  );
}

/**
 * Writes a document back: a replace if it was read (it has an etag), a create if this run made it.
 *
 * @param {any} document
 * @returns {Promise<any>}
 */
function save(document) {
  return document._etag ? replace(document) : create(document);
}

/**
 * Deletes a document that was read in this run, provided nobody else changed it since.
 *
 * @param {{id: string, _etag: string}} document
 * @returns {Promise<void>}
 */
function remove(document) {
  return perform("delete of " + document.id, (done) =>
    __.deleteDocument(linkOf(document.id), { etag: document._etag }, done)
  );
}

/**
 * Deletes by id, with the text its item refers to and those staged under its lock; a document that is already gone is fine.
 *
 * @param {string} id
 * @returns {Promise<boolean>} whether it was there
 */
async function removeById(id) {
  const document = await read(id);
  if (!document) {
    return false;
  }
  await remove(document);
  await dropText(document.item || (document.message && document.message.item));
  for (const staged of document.staged || []) {
    await removeById(staged);
  }
  return true;
}

/**
 * Lets go of a text that is no longer referred to.
 *
 * @param {Payload | undefined} payload
 * @returns {Promise<void>}
 */
async function dropText(payload) {
  if (payload && typeof payload !== "string") {
    await removeById(payload.ref);
  }
}

/**
 * How much of an answer or a head a text takes.
 *
 * @param {Payload} payload
 * @returns {number}
 */
function charsOf(payload) {
  return typeof payload === "string" ? payload.length : payload.ref.length;
}

/**
 * Follows a query page by page until it ends or `enough` says so. Never query what the same run wrote: the
 * service does not promise to show it.
 *
 * @param {string} query
 * @param {{name: string, value: any}[]} parameters
 * @param {(rows: any[]) => boolean} enough called with all rows so far
 * @returns {Promise<any[]>}
 */
async function select(query, parameters, enough) {
  /** @type {any[]} */
  const rows = [];
  let continuation = "";
  for (;;) {
    /** @type {any} */
    const page = await perform("query", (done) =>
      __.queryDocuments(
        __.getAltLink(),
        { query: query, parameters: parameters },
        { pageSize: 100, continuation: continuation },
        (error, found, options) => done(error, { found: found, continuation: options && options.continuation })
      )
    );
    for (const row of page.found) {
      rows.push(row);
    }
    continuation = page.continuation;
    if (enough(rows) || !continuation) {
      return rows;
    }
  }
}

/**
 * Runs a procedure and answers with its result. A rejection must reach `abort`: one that is lost commits.
 *
 * @param {(argument: any) => Promise<object>} procedure
 * @param {any} argument
 */
function run(procedure, argument) {
  procedure(argument).then(
    (result) => getContext().getResponse().setBody(/** @type {any} */ (result))
  ).catch((error) => /** @type {any} */ (getContext()).abort(error));
}
