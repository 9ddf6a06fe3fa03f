package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gorilla/websocket"
)

// browser is a page in headless Chromium, driven over its debugging protocol.
type browser struct {
	t    testing.TB
	ws   *websocket.Conn
	done chan struct{}

	mu       sync.Mutex // guards what follows
	lastID   int64
	waiting  map[int64]chan json.RawMessage
	mistakes []string // what went to the console as an error, and uncaught exceptions
}

// openBrowser starts Chromium with an empty page; without Chromium the test skips, under CI=true it fails.
func openBrowser(t testing.TB) *browser {
	t.Helper()
	chromium := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			chromium = path
			break
		}
	}
	if chromium == "" {
		if os.Getenv("CI") == "true" || os.Getenv("HEARTH_TEST_REQUIRE_SERVERS") != "" {
			t.Fatal("chromium is not installed: apt-get install chromium")
		}
		t.Skip("skipped: chromium is not installed: apt-get install chromium")
	}
	dir, err := os.MkdirTemp("", "hearth-chromium-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) }) // its children may still write for a moment
	cmd := exec.Command(chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
		"--disable-background-networking", "--window-size=1400,900", "--remote-debugging-port=0", "--user-data-dir="+dir, "about:blank")
	cmd.Stdout, cmd.Stderr = io.Discard, io.Discard
	dieWithTest(cmd)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed: it says so
	})
	b := &browser{t: t, done: make(chan struct{}), waiting: make(map[int64]chan json.RawMessage)}
	b.ws, _, err = websocket.DefaultDialer.Dial(pageSocket(t, dir), nil)
	if err != nil {
		t.Fatal(err)
	}
	go b.read()
	t.Cleanup(func() {
		_ = b.ws.Close()
		<-b.done
	})
	for _, domain := range []string{"Runtime.enable", "Log.enable", "Page.enable"} {
		b.call(domain, nil)
	}
	return b
}

// pageSocket is where the one page of a fresh browser is driven.
func pageSocket(t testing.TB, dir string) (socket string) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	await(t, patience, "Chromium answers", func() (bool, any) {
		port, err := os.ReadFile(filepath.Join(dir, "DevToolsActivePort"))
		if err != nil {
			return false, err
		}
		first, _, _ := strings.Cut(string(port), "\n")
		response, err := client.Get("http://127.0.0.1:" + first + "/json/list")
		if err != nil {
			return false, err
		}
		defer response.Body.Close()
		var pages []struct {
			Type     string `json:"type"`
			DebugURL string `json:"webSocketDebuggerUrl"`
		}
		if err := json.NewDecoder(response.Body).Decode(&pages); err != nil {
			return false, err
		}
		for _, p := range pages {
			if p.Type == "page" {
				socket = p.DebugURL
			}
		}
		return socket != "", pages
	})
	return socket
}

func (b *browser) read() {
	defer close(b.done)
	for {
		var in struct {
			ID     int64           `json:"id"`
			Result json.RawMessage `json:"result"`
			Method string          `json:"method"`
			Params struct {
				Type  string // of a console call
				Entry struct{ Level, Text, URL string }
			} `json:"params"`
		}
		_, data, err := b.ws.ReadMessage()
		if err == nil {
			err = json.Unmarshal(data, &in)
		}
		b.mu.Lock()
		switch {
		case err != nil:
			for id, reply := range b.waiting {
				delete(b.waiting, id)
				close(reply)
			}
			b.mu.Unlock()
			return
		case in.ID != 0:
			b.waiting[in.ID] <- in.Result
			delete(b.waiting, in.ID)
		case in.Method == "Runtime.exceptionThrown",
			in.Method == "Runtime.consoleAPICalled" && (in.Params.Type == "error" || in.Params.Type == "assert"),
			in.Method == "Log.entryAdded" && in.Params.Entry.Level == "error":
			b.mistakes = append(b.mistakes, string(data))
		}
		b.mu.Unlock()
	}
}

func (b *browser) call(method string, params any) json.RawMessage {
	b.t.Helper()
	reply := make(chan json.RawMessage, 1)
	b.mu.Lock()
	b.lastID++
	b.waiting[b.lastID] = reply
	err := b.ws.WriteJSON(map[string]any{"id": b.lastID, "method": method, "params": params})
	b.mu.Unlock()
	if err != nil {
		b.t.Fatal(err)
	}
	result, ok := <-reply
	if !ok {
		b.t.Fatalf("%s: Chromium is gone", method)
	}
	return result
}

// eval runs a script in the page and returns what it is worth, as text.
func (b *browser) eval(script string) string {
	b.t.Helper()
	var got struct {
		Result           struct{ Value any }
		ExceptionDetails any
	}
	raw := b.call("Runtime.evaluate", fields{"expression": script, "returnByValue": true})
	if err := json.Unmarshal(raw, &got); err != nil || got.ExceptionDetails != nil {
		b.t.Fatalf("%s: %v %s", script, err, raw)
	}
	return fmt.Sprint(got.Result.Value)
}

func (b *browser) awaitText(selector, want string) {
	b.t.Helper()
	await(b.t, patience, fmt.Sprintf("%q in %s", want, selector), func() (bool, any) {
		got := b.eval(fmt.Sprintf(`document.querySelector(%q)?.innerText ?? ""`, selector))
		return strings.Contains(got, want), got + "; mistakes: " + strings.Join(b.errors(), "\n")
	})
}

func (b *browser) errors() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string(nil), b.mistakes...)
}

func (b *browser) awaitState(want string) {
	b.t.Helper()
	await(b.t, patience, "the page is "+want, func() (bool, any) {
		state := b.eval(`document.querySelector("[data-testid=state]")?.dataset.state`)
		return state == want, state + "; mistakes: " + strings.Join(b.errors(), "\n")
	})
}

// say writes a message as a user does.
func (b *browser) say(text string) {
	b.t.Helper()
	b.eval(fmt.Sprintf(`(() => {
		const input = document.querySelector("[data-testid=composer]");
		input.value = %q;
		input.dispatchEvent(new Event("input", { bubbles: true }));
	})()`, text))
	b.click("send")
}

// click presses the first button of a data-testid, in a later turn than what came before: the page is drawn in between.
func (b *browser) click(testID string) {
	b.t.Helper()
	await(b.t, patience, testID+" can be pressed", func() (bool, any) {
		return b.eval(fmt.Sprintf(`(() => {
			const button = document.querySelector("[data-testid=%s]");
			if (!button || button.disabled) return false;
			button.click();
			return true;
		})()`, testID)) == "true", b.errors()
	})
}

// seqs are those of the messages that are shown.
func (b *browser) seqs() (seqs []int64) {
	b.t.Helper()
	list := b.eval(`JSON.stringify([...document.querySelectorAll("[data-testid=message]")].map((m) => Number(m.dataset.seq)))`)
	if err := json.Unmarshal([]byte(list), &seqs); err != nil {
		b.t.Fatalf("seqs: %v in %s", err, list)
	}
	return seqs
}

// TestDemoInTheBrowser: the page connects, shows the board and the room, sends, receives, comes back after a drop and at
// the other instance with nothing missing and nothing twice, without an error on the console.
func TestDemoInTheBrowser(t *testing.T) {
	t.Parallel()
	b := openBrowser(t)
	d := newDev(t, "--bots", "6")
	d.up()
	const room = "a-room-of-their-own"
	b.call("Page.navigate", fields{"url": d.urls[0] + "/demo?user=ann&room=" + room})
	b.awaitState("online")
	b.awaitText("[data-testid=hot-row]", "spoke in the last 5 minutes")
	b.awaitText("#room-name", room)

	bob := d.connect(1, "bob")
	bob.do("subscribe", fields{"group": room}, nil)
	bob.send(room, say("from the other instance"))
	b.awaitText("[role=log]", say("from the other instance"))

	b.say(say("from the page"))
	found := bob.wait(patience, func() bool {
		for _, p := range bob.pushes[room] {
			if p.From == "ann" && string(p.Body) == compactText(say("from the page")) {
				return true
			}
		}
		return false
	})
	if !found {
		t.Errorf("what the page sent does not arrive in %s", room)
	}
	b.awaitText("[role=log]", say("from the page"))

	b.click("drop")
	b.awaitState("dropped")
	bob.send(room, say("while the page is away"))
	b.click("reconnect")
	b.awaitText("[role=log]", say("while the page is away"))
	b.awaitText("[data-testid=note]", "subscribe after_seq 2 brought #3: nothing missing")

	b.click("other-instance")
	b.awaitText("[data-testid=state]", "dev-2")
	bob.send(room, say("to the other instance"))
	b.awaitText("[role=log]", say("to the other instance"))
	if got := b.seqs(); !slices.Equal(got, []int64{1, 2, 3, 4}) {
		t.Errorf("seqs on the page: got %v, want 1 to 4, each once", got)
	}
	for _, mistake := range b.errors() {
		t.Errorf("on the console: %s", mistake)
	}
}
