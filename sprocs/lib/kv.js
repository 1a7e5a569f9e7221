/**
 * The key-value state of an instance. Changes of the running execution are a delta, visible to clients at
 * once; they become part of the store, and of the snapshot a turn sees, when the execution ends.
 */

/**
 * @param {Head} head
 * @param {KvChange[]} changes
 * @param {boolean} ended whether the execution ends with this turn
 * @param {number} now
 */
async function changeKv(head, changes, ended, now) {
  if (changes.length === 0 && !(ended && head.hasKv)) {
    return;
  }
  /** @type {Kv} */
  const kv = (await read("kv")) || { id: "kv", instanceId: head.instanceId, type: "kv", store: {}, delta: {} };
  for (const change of changes) {
    if (change.key === undefined) {
      for (const key of Object.keys(kv.store).concat(Object.keys(kv.delta))) {
        await setDelta(kv, key, { at: now });
      }
    } else if (change.value === undefined) {
      await setDelta(kv, change.key, { at: now });
    } else {
      await setDelta(kv, change.key, { value: await storeText(head, change.value, now), at: change.at });
    }
  }
  if (ended) {
    await mergeDelta(kv);
  }
  head.hasKv = true;
  await save(kv);
}

/**
 * @param {Kv} kv
 * @param {string} key
 * @param {KvSlot} slot
 */
async function setDelta(kv, key, slot) {
  if (hasKey(kv.delta, key)) {
    await dropText(kv.delta[key].value);
  }
  setSlot(kv.delta, key, slot);
}

/** @param {Kv} kv */
async function mergeDelta(kv) {
  for (const key of Object.keys(kv.delta)) {
    const slot = kv.delta[key];
    if (hasKey(kv.store, key)) {
      await dropText(kv.store[key].value);
    }
    if (slot.value === undefined) {
      delete kv.store[key];
    } else {
      setSlot(kv.store, key, slot);
    }
  }
  kv.delta = {};
}

/**
 * Sets a key of any name: a mere assignment to `__proto__` adds no key.
 *
 * @param {{[key: string]: KvSlot}} slots
 * @param {string} key
 * @param {KvSlot} slot
 */
function setSlot(slots, key, slot) {
  Object.defineProperty(slots, key, { value: slot, enumerable: true, configurable: true, writable: true });
}

/**
 * @param {object} slots
 * @param {string} key
 */
function hasKey(slots, key) {
  return Object.prototype.hasOwnProperty.call(slots, key);
}
