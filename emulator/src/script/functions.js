// The surroundings of user-defined functions: the language, and nothing of the server-side API.
//
// Evaluates to a function that installs the globals and returns the entry points for the host.
(function installFunctions(language) {
  'use strict';

  const { parse, stringify } = JSON;
  const { apply } = Reflect;

  language.defineGlobal('console', { log() {} });

  return {
    // Everything that depends on the query.
    begin(clockOffset, refuseNewer) {
      if (clockOffset !== 0) language.shiftClock(clockOffset);
      if (refuseNewer) language.removeNewer();
    },
    // Arguments and result are JSON texts; the empty one is `undefined`.
    call(main, values) {
      const result = apply(main, undefined, values.map((text) => (text === '' ? undefined : parse(text))));
      const text = stringify(result);
      return text === undefined ? '' : text;
    },
    describe: language.describe,
  };
});
