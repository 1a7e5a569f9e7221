/**
 * Work items: one document per activity to run.
 */

/**
 * Creates work items in order. An id that is taken gets a numbered copy: enqueueing twice means running twice.
 *
 * @param {string} instanceId
 * @param {number} slot
 * @param {NewWork[]} items
 * @param {(step: number) => number} stampOf the stamp of the n-th item
 * @param {number} now
 * @returns {Promise<string[]>} ids of those that are locked at once, in order
 */
async function createWork(instanceId, slot, items, stampOf, now) {
  /** @type {string[]} */
  const locked = [];
  for (let i = 0; i < items.length; i += 1) {
    const item = items[i];
    const stamp = stampOf(i);
    for (let copy = 1; ; copy += 1) {
      /** @type {Work} */
      const work = {
        id: copyId(item.id, copy),
        instanceId: instanceId,
        type: "work",
        workReadyAt: timeOf(stamp),
        slot: slot,
        tag: item.tag,
        session: item.session,
        attempts: 0,
        waiting: 1,
        nonce: item.nonce,
        item: item.item
      };
      if (item.lock) {
        takeWork(work, item.lock.id, now + item.lock.ms);
      }
      if (await createIfAbsent(work)) {
        if (item.lock) {
          locked.push(work.id);
        }
        break;
      }
    }
  }
  return locked;
}

/**
 * Locks a work item: one more attempt. The caller writes it.
 *
 * @param {Work} work
 * @param {string} lockId
 * @param {number} until
 */
function takeWork(work, lockId, until) {
  work.attempts += 1;
  work.lock = { id: lockId, until: until };
  delete work.waiting;
  work.firstReadyAt = work.firstReadyAt === undefined ? work.workReadyAt : work.firstReadyAt;
  work.workReadyAt = until;
}

/**
 * Locks a work item if it is ready, or finds it locked by an earlier call of the same request. One of a deleted
 * instance is removed: until the deletion comes to it, searches would find it again and again, before others.
 *
 * @param {Head | null} head
 * @param {WorkRequest} request
 * @param {number} now
 * @returns {Promise<{item: Payload, attempts: number, now: number, until: number} | undefined>}
 */
async function tryWork(head, request, now) {
  if (isDeleted(head)) {
    await removeById(request.workId);
    return undefined;
  }
  /** @type {Work | null} */
  const work = await read(request.workId);
  if (!work) {
    return undefined;
  }
  if (!holdsWork(work, head, request.lockId, now)) {
    if (work.workReadyAt > now) {
      return undefined;
    }
    await dropStaged(work);
    takeWork(work, request.lockId, now + request.lockMs);
    await save(work);
  }
  const until = /** @type {{until: number}} */ (work.lock).until;
  return { item: work.item, attempts: work.attempts, now: now, until: until };
}

/**
 * Deletes a work item with all its copies, whoever holds it.
 *
 * @param {string} id
 */
async function cancelWork(id) {
  for (let copy = 1; await removeById(copyId(id, copy)); copy += 1) {
    // removeById did it
  }
}

/**
 * @param {string} id
 * @param {number} copy
 */
function copyId(id, copy) {
  return copy === 1 ? id : id + ":" + copy;
}

/**
 * @param {any} document
 * @returns {Promise<boolean>} whether it is there now, be it from an earlier call with the same nonce
 */
async function createIfAbsent(document) {
  try {
    await create(document);
    return true;
  } catch (error) {
    if (/** @type {any} */ (error).number === ErrorCodes.Conflict) {
      const found = await read(document.id);
      return document.nonce !== undefined && found !== null && found.nonce === document.nonce;
    }
    throw error;
  }
}

/**
 * Whether `lockId` holds the work item at the time `now`. Nobody holds what is left of a deleted instance.
 *
 * @param {Work | null} work
 * @param {Head | null} head
 * @param {string} lockId
 * @param {number} now
 * @returns {boolean}
 */
function holdsWork(work, head, lockId, now) {
  return work !== null && work.lock !== undefined && work.lock.id === lockId && work.lock.until > now && !isDeleted(head);
}

/**
 * Whether the work items of this partition are remains of an instance whose deletion is decided. One that is only
 * marked may still be unmarked: its activities run and complete as ever.
 *
 * @param {Head | null} head
 * @returns {boolean}
 */
function isDeleted(head) {
  return head !== null && head.deletion !== undefined && head.deletion.before !== undefined;
}
