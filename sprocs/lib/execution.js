/**
 * Executions: the current one lives in the head, earlier ones in documents `x:<execution>`.
 */

/**
 * The record of `execution`, to be changed in place and saved with `saveExecution`. A later execution than the
 * current one becomes current: what the head held of the earlier one moves to a document of its own.
 *
 * @param {Head} head
 * @param {number} execution
 * @param {number} now
 * @returns {Promise<Execution>}
 */
async function openExecution(head, execution, now) {
  if (execution === head.execution) {
    return head;
  }
  if (execution < head.execution) {
    return (await read("x:" + execution)) || newExecution(execution, now);
  }
  if (head.execution > 0) {
    await create(executionDocument(head, head));
  }
  delete head.output;
  delete head.completedAt;
  delete head.pinned;
  delete head.startAt;
  return Object.assign(head, newExecution(execution, now));
}

/**
 * @param {Head} head
 * @param {Execution} record
 */
async function saveExecution(head, record) {
  if (record !== head) {
    await save(Object.assign(record, { id: "x:" + record.execution, instanceId: head.instanceId, type: "execution" }));
  }
}

/**
 * @param {number} execution
 * @param {number} now
 * @returns {Execution}
 */
function newExecution(execution, now) {
  return { execution: execution, lastEvent: 0, events: 0, bytes: 0, pages: 0, status: "Running", startedAt: now };
}

/**
 * @param {Head} head
 * @param {Execution} record
 */
function executionDocument(head, record) {
  return {
    id: "x:" + record.execution,
    instanceId: head.instanceId,
    type: "execution",
    execution: record.execution,
    lastEvent: record.lastEvent,
    events: record.events,
    bytes: record.bytes,
    pages: record.pages,
    status: record.status,
    output: record.output,
    startedAt: record.startedAt,
    completedAt: record.completedAt,
    pinned: record.pinned
  };
}

/**
 * Appends events as one page, without looking at earlier pages. The caller has checked that they follow.
 *
 * @param {Head} head
 * @param {Execution} record
 * @param {NewPage} page
 * @param {string} [nonce] of the commit, by which a repeated call recognises it for as long as there is the page
 */
async function appendPage(head, record, page, nonce) {
  await create({
    id: "h:" + record.execution + ":" + page.first,
    instanceId: head.instanceId,
    type: "history",
    execution: record.execution,
    first: page.first,
    last: page.last,
    events: page.events,
    nonce: nonce
  });
  record.lastEvent = page.last;
  record.events += page.count;
  record.bytes += page.bytes;
  record.pages += 1;
}
