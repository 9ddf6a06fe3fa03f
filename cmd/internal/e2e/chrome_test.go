package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// chrome is a headless Chromium, with a microphone that hums.
type chrome struct {
	t   testing.TB
	ctx context.Context
}

// openChrome starts Chromium; without it the test skips, under CI=true it fails.
func openChrome(t testing.TB) *chrome {
	t.Helper()
	dir, err := os.MkdirTemp("", "hearth-chromium-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) }) // its children may still write for a moment
	ctx, stop := chromedp.NewExecAllocator(context.Background(), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(chromium(t)),
		chromedp.NoSandbox,
		chromedp.DisableGPU,
		chromedp.UserDataDir(dir),
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("use-fake-device-for-media-stream", true),
		chromedp.Flag("use-fake-ui-for-media-stream", true),
		chromedp.WSURLReadTimeout(patience),
		chromedp.ModifyCmdFunc(dieWithTest),
	)...)
	t.Cleanup(stop)
	ctx, quit := chromedp.NewContext(ctx)
	t.Cleanup(quit)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	return &chrome{t: t, ctx: ctx}
}

func chromium(t testing.TB) (path string) {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("CI") == "true" || os.Getenv("HEARTH_TEST_REQUIRE_SERVERS") != "" {
		t.Fatal("chromium is not installed: apt-get install chromium")
	}
	t.Skip("skipped: chromium is not installed: apt-get install chromium")
	return ""
}

// window is a page in a window of its own, driven by its elements' data-testid.
type window struct {
	t   testing.TB
	ctx context.Context

	mu       sync.Mutex // guards what follows
	mistakes []string   // what went to the console as an error, and uncaught exceptions
}

// open opens a URL in a new window. What the page reports as an error fails the test at its end.
func (c *chrome) open(url string) *window {
	c.t.Helper()
	ctx, closeWindow := chromedp.NewContext(c.ctx)
	w := &window{t: c.t, ctx: ctx}
	console := chromedp.Console(ctx)
	listening := make(chan struct{})
	go func() {
		defer close(listening)
		for m, err := range console {
			if err != nil {
				return
			}
			if m.Type == "error" || m.Type == "assert" || m.IsException() {
				w.mu.Lock()
				w.mistakes = append(w.mistakes, m.String()+" "+m.URL)
				w.mu.Unlock()
			}
		}
	}()
	c.t.Cleanup(func() {
		closeWindow()
		<-listening
		for _, m := range w.errors() {
			c.t.Errorf("%s: on the console: %s", url, m)
		}
	})
	do(w, chromedp.EmulateViewport(1280, 800))
	do(w, chromedp.Navigate(url))
	return w
}

func (w *window) errors() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.mistakes...)
}

// forgive forgets the errors that the test has caused on purpose.
func (w *window) forgive() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mistakes = nil
}

func do[T any](w *window, action chromedp.Action[T]) T {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, action)
	if err != nil {
		w.t.Fatalf("%v; on the console: %s", err, strings.Join(w.errors(), "\n"))
	}
	return v
}

// testid selects the elements with a data-testid, and with further data-…: testid("hot-row", "group", "tea").
func testid(name string, data ...string) chromedp.CSS {
	selector := fmt.Sprintf("[data-testid=%q]", name)
	for i := 0; i+1 < len(data); i += 2 {
		selector += fmt.Sprintf("[data-%s=%q]", data[i], data[i+1])
	}
	return chromedp.CSS(selector)
}

// see waits until the element is there and visible.
func (w *window) see(selector chromedp.CSS) {
	w.t.Helper()
	do(w, chromedp.WaitVisible(selector))
}

func (w *window) click(selector chromedp.CSS) {
	w.t.Helper()
	do(w, chromedp.WaitEnabled(selector))
	do(w, chromedp.Click(selector, chromedp.NodeVisible))
}

// write types into an input and confirms with Enter.
func (w *window) write(selector chromedp.CSS, text string) {
	w.t.Helper()
	do(w, chromedp.SendKeys(selector, text+"\n", chromedp.NodeVisible))
}

// choose gives a file to an input that asks for one.
func (w *window) choose(selector chromedp.CSS, file string) {
	w.t.Helper()
	do(w, chromedp.SetUploadFiles(selector, []string{file}))
}

// all is what an expression over e is worth for each element: all(testid("message"), "e.dataset.seq").
func (w *window) all(selector chromedp.CSS, of string) []string {
	w.t.Helper()
	return do(w, chromedp.Evaluate[[]string](fmt.Sprintf(`[...document.querySelectorAll(%q)].map(e => String(%s))`, selector, of)))
}

// awaitAll waits until what all returns is as wanted.
func (w *window) awaitAll(what string, selector chromedp.CSS, of string, met func(values []string) bool) {
	w.t.Helper()
	await(w.t, patience, what, func() (bool, any) {
		values := w.all(selector, of)
		return met(values), fmt.Sprintf("%q; on the console: %s", values, strings.Join(w.errors(), "\n"))
	})
}

// awaitText waits until one of the elements has a text in it.
func (w *window) awaitText(selector chromedp.CSS, text string) {
	w.t.Helper()
	w.awaitAll(fmt.Sprintf("%q in %s", text, selector), selector, "e.innerText", func(values []string) bool {
		return strings.Contains(strings.Join(values, "\n"), text)
	})
}

// dress has the page shown as on a screen of this size, light or dark.
func (w *window) dress(width, height int64, scheme string) {
	w.t.Helper()
	do(w, chromedp.EmulateViewport(width, height))
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// shoot keeps a screenshot among the test's artefacts, and fails if the page is wider than its window.
func (w *window) shoot(name string) {
	w.t.Helper()
	if do(w, chromedp.Evaluate[bool](`document.documentElement.scrollWidth > document.documentElement.clientWidth`)) {
		w.t.Errorf("%s: the page is wider than its window", name)
	}
	png := do(w, chromedp.CaptureScreenshot())
	if err := os.WriteFile(filepath.Join(w.t.ArtifactDir(), name+".png"), png, 0o600); err != nil {
		w.t.Error(err)
	}
}

// shootAll keeps the page as a desk and a phone show it, light and dark.
func (w *window) shootAll(name string) {
	w.t.Helper()
	for _, scheme := range []string{"light", "dark"} {
		w.dress(1400, 900, scheme)
		w.shoot(name + "-" + scheme)
		w.dress(360, 740, scheme)
		w.shoot(name + "-phone-" + scheme)
	}
	w.dress(1280, 800, "light")
}
