export function Trouble({ message }: { message: string }) {
  return (
    <main class="trouble">
      <h1>The demo does not start</h1>
      <p role="alert">{message}</p>
      <p>
        Is hearth still running? <a href="/demo">Try again</a>
      </p>
    </main>
  );
}
