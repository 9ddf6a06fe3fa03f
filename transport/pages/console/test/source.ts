// A browser's EventSource in the hands of a test.

export class FakeSource {
  static opened: FakeSource[] = [];
  static get last(): FakeSource {
    return FakeSource.opened.at(-1)!;
  }
  /** The one open to a path. */
  static to(path: string): FakeSource | undefined {
    return FakeSource.opened.findLast((s) => s.url.includes(path) && !s.closed);
  }

  onopen?: () => void;
  onerror?: () => void;
  closed = false;
  private on = new Map<string, (e: { data: string }) => void>();

  constructor(readonly url: string) {
    FakeSource.opened.push(this);
  }

  addEventListener(event: string, on: (e: { data: string }) => void) {
    this.on.set(event, on);
  }

  close() {
    this.closed = true;
  }

  tell(event: string, data: unknown) {
    this.on.get(event)?.({ data: JSON.stringify(data) });
  }
}
