// The language as the service's engine has it: errors with numbers, no code from strings, the server's clock.
//
// Evaluates to a function that changes the globals, and returns what the other files need of it.
(function shapeLanguage() {
  'use strict';

  const { construct } = Reflect;
  const { defineProperty, getPrototypeOf, setPrototypeOf } = Object;
  const NativeError = Error;

  function defineGlobal(name, value) {
    defineProperty(globalThis, name, { value, writable: true, configurable: true });
  }

  // The service's engine understands `new Error(number, message)`.
  function shimError(name) {
    const Native = globalThis[name];
    function Shim(first, second) {
      const numbered = typeof first === 'number';
      const text = numbered && arguments.length > 1 ? second : first;
      const rest = numbered || text === undefined ? [text] : [text, second];
      const error = construct(Native, rest, new.target || Shim);
      NativeError.captureStackTrace(error, Shim);
      if (numbered) {
        defineProperty(error, 'number', { value: first, writable: true, configurable: true });
      }
      return error;
    }
    defineProperty(Shim, 'name', { value: name });
    defineProperty(Shim, 'prototype', { value: Native.prototype, writable: false });
    // The engine's own errors look like ours, too.
    defineProperty(Native.prototype, 'constructor', { value: Shim, writable: true, configurable: true });
    defineGlobal(name, Shim);
    return Shim;
  }

  // The prototypes of functions lead to constructors that compile strings, besides the globals.
  function forbidCodeFromStrings() {
    const notAllowed = (name) => new Error(400, 'The function "' + name + '" is not allowed in server side scripting.');
    defineGlobal('eval', () => {
      throw notAllowed('eval');
    });
    const blocked = function Function() {
      throw notAllowed('Function');
    };
    blocked.prototype = getPrototypeOf(blocked);
    for (const sample of [() => {}, async () => {}, function* () {}, async function* () {}]) {
      defineProperty(getPrototypeOf(sample), 'constructor', { value: blocked, configurable: true });
    }
    defineGlobal('Function', blocked);
  }

  // The server's clock may be set off from this machine's by a test.
  function shiftClock(offset) {
    const NativeDate = Date;
    const now = () => NativeDate.now() + offset;
    function Shifted(...fields) {
      if (new.target === undefined) return new NativeDate(now()).toString();
      return construct(NativeDate, fields.length === 0 ? [now()] : fields, new.target);
    }
    defineProperty(Shifted, 'name', { value: 'Date' });
    defineProperty(Shifted, 'length', { value: 7 });
    defineProperty(Shifted, 'prototype', { value: NativeDate.prototype, writable: false });
    Shifted.now = now;
    Shifted.parse = NativeDate.parse;
    Shifted.UTC = NativeDate.UTC;
    defineProperty(NativeDate.prototype, 'constructor', { value: Shifted, writable: true, configurable: true });
    defineGlobal('Date', Shifted);
  }

  const NumberedError = shimError('Error');
  for (const name of ['EvalError', 'RangeError', 'ReferenceError', 'SyntaxError', 'TypeError', 'URIError']) {
    setPrototypeOf(shimError(name), NumberedError);
  }
  forbidCodeFromStrings();
  // Not in the service's engine, and able to block a thread or to run past the end of a turn.
  for (const name of ['Atomics', 'SharedArrayBuffer', 'queueMicrotask']) delete globalThis[name];

  return { NativeError, NumberedError, defineGlobal, shiftClock };
});
