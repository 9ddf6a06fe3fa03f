// What every part of the page needs to make elements. Data only ever becomes text, never markup.

export const find = (id) => document.getElementById(id);

// make builds an element: props are set as properties, data-… and aria-… and role as attributes.
export function make(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (/^(data-|aria-|role$)/.test(name)) element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children);
  return element;
}

const clock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit', hour12: false });

export function timeElement(ms) {
  const date = new Date(ms);
  return make('time', { dateTime: date.toISOString(), title: date.toLocaleString(), textContent: clock.format(date) });
}

// colour gives everyone his own hue, the same in every window.
export function colour(element, user) {
  let hash = 0;
  for (const char of user) hash = (hash * 31 + char.codePointAt(0)) % 360;
  element.style.setProperty('--hue', hash);
  return element;
}

// endKeeper keeps a growing list at its end while the reader is there. It measures once a frame at most: a layout for
// every message of a burst would take seconds.
export function endKeeper(scroller) {
  let atEnd = true;
  let scheduled = false;
  let lastTop = 0;
  scroller.addEventListener('scroll', () => {
    const top = scroller.scrollTop;
    // Only going up means leaving: the list may have grown since it was last put to its end.
    if (scroller.scrollHeight - top - scroller.clientHeight < 48) atEnd = true;
    else if (top < lastTop) atEnd = false;
    lastTop = top;
  });
  const keeper = {
    grown() {
      if (scheduled || !atEnd) return;
      scheduled = true;
      requestAnimationFrame(() => {
        scheduled = false;
        if (atEnd) scroller.scrollTop = scroller.scrollHeight;
      });
    },
    go() {
      atEnd = true;
      keeper.grown();
    },
    leave() {
      atEnd = false;
    },
  };
  return keeper;
}
