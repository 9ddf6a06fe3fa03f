// What is about to be said, with the id by which the server knows a repeat.

export interface Draft {
  text: string;
  client_id: string;
}

/** The draft before while its text is the same: an answer that was lost may mean that it was sent. */
export function draft(before: Draft | undefined, text: string): Draft {
  return before?.text === text ? before : { text, client_id: newID() };
}

/** No randomUUID: a page that came by plain HTTP has none. */
function newID(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join('');
}
