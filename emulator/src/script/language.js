// The language as the service's engine has it: errors with numbers, no code from strings, the server's clock.
//
// Evaluates to a function that changes the globals, and returns what the other files need of it.
(function shapeLanguage() {
  'use strict';

  const { construct } = Reflect;
  const { defineProperty, getPrototypeOf, setPrototypeOf } = Object;
  const { apply } = Reflect;
  const NativeError = Error;
  const errorToString = Error.prototype.toString;
  const wellFormed = String.prototype.toWellFormed;
  const WRAPPER_FILE = '<wrapper>';
  const global = globalThis;

  function defineGlobal(name, value) {
    defineProperty(global, name, { value, writable: true, configurable: true });
  }

  // The service's engine understands `new Error(number, message)`.
  function shimError(name) {
    const Native = global[name];
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

  // Frames in the service's style, without those of the wrapper and of natives.
  function frames(stack) {
    let text = '';
    for (const line of stack.split('\n')) {
      if (line === '' || line.includes(WRAPPER_FILE) || line.includes('(native)')) continue;
      const frame = line.trim().replace('at <anonymous>', 'at Anonymous function');
      text += '\n   ' + frame;
    }
    return text;
  }

  // What the caller is told about a value thrown in `file`: `[number, text]`, both strings.
  function describe(thrown, file) {
    const isObject = (typeof thrown === 'object' && thrown !== null) || typeof thrown === 'function';
    let number = '';
    let title;
    let stack = '';
    if (isObject && typeof thrown.number === 'number') number = String(thrown.number);
    if (thrown instanceof NativeError) {
      title = apply(errorToString, thrown, []);
      if (typeof thrown.stack === 'string') {
        stack = '\r\nStack trace: ' + title + frames(thrown.stack) + '\n   at Global code (' + file + ':1:2)';
      }
    } else if (isObject && typeof thrown.message === 'string') {
      title = 'Error: ' + thrown.message;
    } else {
      title = String(thrown);
    }
    return [number, apply(wellFormed, title + stack, [])];
  }

  // Library functions younger than ES2017, for those who want no more than the service's engine surely has.
  const newer = [
    [Array, ['fromAsync']],
    [Array.prototype, ['flat', 'flatMap', 'at', 'findLast', 'findLastIndex', 'toReversed', 'toSorted', 'toSpliced', 'with']],
    [Object, ['fromEntries', 'groupBy', 'hasOwn']],
    [Map, ['groupBy']],
    [Promise, ['allSettled', 'any', 'try', 'withResolvers']],
    [Promise.prototype, ['finally']],
    [String.prototype, ['at', 'isWellFormed', 'matchAll', 'replaceAll', 'toWellFormed', 'trimEnd', 'trimStart']],
    [RegExp, ['escape']],
    [Set.prototype, ['difference', 'intersection', 'isDisjointFrom', 'isSubsetOf', 'isSupersetOf', 'symmetricDifference', 'union']],
    [Error, ['isError']],
    [Math, ['f16round', 'sumPrecise']],
    [JSON, ['isRawJSON', 'rawJSON']],
    [global, ['AggregateError', 'BigInt', 'BigInt64Array', 'BigUint64Array', 'DOMException', 'FinalizationRegistry',
      'Float16Array', 'Iterator', 'WeakRef', 'globalThis', 'navigator', 'performance', 'structuredClone']],
  ];

  function removeNewer() {
    for (const [owner, names] of newer) {
      for (const name of names) delete owner[name];
    }
  }

  const NumberedError = shimError('Error');
  for (const name of ['EvalError', 'RangeError', 'ReferenceError', 'SyntaxError', 'TypeError', 'URIError']) {
    setPrototypeOf(shimError(name), NumberedError);
  }
  forbidCodeFromStrings();
  // Not in the service's engine, and able to block a thread or to run past the end of a turn.
  for (const name of ['Atomics', 'SharedArrayBuffer', 'queueMicrotask']) delete global[name];

  return { NumberedError, defineGlobal, describe, removeNewer, shiftClock };
});
