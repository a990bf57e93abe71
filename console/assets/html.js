// The library of the pages: Preact, with htm as its syntax. Text in templates becomes text nodes, so data is never
// parsed as HTML.
import { h, render, Fragment } from "./vendor/preact.js";
import { useEffect, useMemo, useRef, useState, useCallback } from "./vendor/hooks.js";
import htm from "./vendor/htm.js";

export const html = htm.bind(h);
export { render, Fragment, useEffect, useMemo, useRef, useState, useCallback };

/** Returns a value that several components share. `use` subscribes a component to the value. */
export function shared(value) {
  const listeners = new Set();
  return {
    get: () => value,
    set(next) {
      value = next;
      for (const listener of [...listeners]) listener(value);
    },
    use() {
      const [, redraw] = useState({});
      useEffect(() => {
        const listener = () => redraw({});
        listeners.add(listener);
        return () => listeners.delete(listener);
      }, []);
      return value;
    },
  };
}

/** Calls `load` now and whenever a dependency changes. The signal of an outdated call is aborted. */
export function useLoaded(load, dependencies) {
  const [state, setState] = useState({ loading: true });
  const [round, setRound] = useState(0);
  useEffect(() => {
    const abort = new AbortController();
    setState((before) => ({ ...before, loading: true }));
    load(abort.signal).then(
      (data) => abort.signal.aborted || setState({ data, loading: false }),
      (error) => abort.signal.aborted || setState((before) => ({ data: before.data, error, loading: false })),
    );
    return () => abort.abort();
  }, [...dependencies, round]);
  return { ...state, reload: () => setRound((before) => before + 1) };
}
