/**
 * enqueueWork: puts an activity into the worker queue.
 *
 * Argument: { instanceId, slot, after, work: NewWork }
 *           a repeated call carries the same nonce in `work`
 * Result:   { status: "queued", now, stamp, readyAt }
 * Reads:    w:<execution>:<activity> where that id is taken
 * Writes:   w:<execution>:<activity>, or a numbered copy where that id is taken
 * Uses:     store, head, work
 *
 * @param {{instanceId: string, slot: number, after: number, work: NewWork}} argument
 */
async function enqueueWork(argument) {
  const now = Date.now();
  const stamp = nextStamp(0, argument.after, now);
  await createWork(argument.instanceId, argument.slot, [argument.work], () => stamp, now);
  return { status: "queued", now: now, stamp: stamp, readyAt: timeOf(stamp) };
}
