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
 */
async function createWork(instanceId, slot, items, stampOf) {
  for (let i = 0; i < items.length; i += 1) {
    const item = items[i];
    const stamp = stampOf(i);
    for (let copy = 1; ; copy += 1) {
      const created = await createIfAbsent({
        id: copyId(item.id, copy),
        instanceId: instanceId,
        type: "work",
        workReadyAt: timeOf(stamp),
        slot: slot,
        tag: item.tag,
        session: item.session,
        attempts: 0,
        nonce: item.nonce,
        item: item.item
      });
      if (created) {
        break;
      }
    }
  }
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
 * Whether `lockId` holds the work item at the time `now`.
 *
 * @param {Work | null} work
 * @param {string} lockId
 * @param {number} now
 * @returns {boolean}
 */
function holdsWork(work, lockId, now) {
  return work !== null && work.lock !== undefined && work.lock.id === lockId && work.lock.until > now;
}
