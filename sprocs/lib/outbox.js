/**
 * The outbox: messages to other partitions, written with the change that causes them and delivered after it.
 */

/**
 * @param {string} instanceId
 * @param {string} lockId makes the ids unique: a lock commits once
 * @param {OutboxMessage[]} messages
 * @param {number} now
 */
async function createOutbox(instanceId, lockId, messages, now) {
  for (let i = 0; i < messages.length; i += 1) {
    await create({
      id: "o:" + lockId + ":" + i,
      instanceId: instanceId,
      type: "outbox",
      outboxAt: now,
      to: messages[i].to,
      message: messages[i].message
    });
  }
}
