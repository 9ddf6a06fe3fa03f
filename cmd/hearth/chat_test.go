package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"hearth/cmd/internal/app"
)

// startHearth runs hearth on embedded parts, with the room tea and the group board, of which only ann is a member.
func startHearth(t *testing.T) *app.Dev {
	t.Helper()
	dev, err := app.StartDev(t.Context(), app.DevConfig{Addr: "127.0.0.1:0", Instances: 1, Dir: t.TempDir(), Log: zerolog.Nop()})
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
		defer cancel()
		require.NoError(t, dev.Stop(ctx))
	})
	for _, group := range []string{
		`{"group":"tea","type":"room","name":"Tea","owner":"ann"}`, `{"group":"board","type":"group","name":"Board","owner":"ann"}`,
	} {
		post(t, dev, "/v1/groups", group, "Authorization", "Bearer "+dev.APIKey)
	}
	return dev
}

func post(t *testing.T, dev *app.Dev, path, body string, header ...string) (answer []byte) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, dev.URLs[0]+path, strings.NewReader(body))
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set(header[0], header[1])
	response, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer response.Body.Close()
	answer, err = io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Less(t, response.StatusCode, 300, "%s", answer)
	return answer
}

// as is the environment of a user.
func as(t *testing.T, dev *app.Dev, user string) []string {
	t.Helper()
	var answer struct{ Token string }
	require.NoError(t, json.Unmarshal(post(t, dev, "/demo/token", fmt.Sprintf(`{"user":%q}`, user), "Origin", dev.URLs[0]), &answer))
	return []string{"HEARTH_URL=" + dev.URLs[0], "HEARTH_TOKEN=" + answer.Token}
}

func TestSendAndPull(t *testing.T) {
	t.Parallel()
	dev := startHearth(t)
	ann := as(t, dev, "ann")
	require.Equal(t, result{stdout: "tea 1\n"}, hearth(t, ann, "send", "tea", "hello", "there"))
	require.Equal(t, result{stdout: "tea 2\n"}, hearth(t, ann, "send", "tea", "\x1b[2J <b>"))
	require.Regexp(t, `^{"group":"tea","seq":3,.*"duplicate":false.*}\n$`, hearth(t, ann, "send", "--json", "tea", "three").stdout)

	const at = `\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`
	got := hearth(t, ann, "pull", "tea", "--after", "0")
	require.Equal(t, exitOK, got.status, got.stderr)
	require.Regexp(t, `^1 `+at+` ann: hello there\n2 `+at+" ann: \uFFFD"+`\[2J <b>\n3 `+at+` ann: three\n$`, got.stdout)
	require.Empty(t, got.stderr)

	got = hearth(t, ann, "pull", "tea", "--after", "1", "--limit", "1")
	require.Regexp(t, `^2 `, got.stdout)
	require.Equal(t, "There is more: --after 2\n", got.stderr)

	got = hearth(t, ann, "pull", "tea", "--limit=2", "--json")
	require.Regexp(t, `^{"group":"tea","seq":2,.*<b>"}]}\n{"group":"tea","seq":3,.*}\n$`, got.stdout)
}

func TestPullReadsOnOverThePages(t *testing.T) {
	t.Parallel()
	dev := startHearth(t)
	for range 205 { // more than a page has
		post(t, dev, "/v1/groups/tea/messages", `{"body":[{"type":"text","text":"x"}]}`, "Authorization", "Bearer "+dev.APIKey)
	}
	got := hearth(t, as(t, dev, "ann"), "pull", "tea", "--after=0", "--limit=1000")
	require.Equal(t, exitOK, got.status, got.stderr)
	require.Equal(t, 205, strings.Count(got.stdout, "\n"))
	require.Empty(t, got.stderr)
}

func TestChatErrorsAreInWords(t *testing.T) {
	t.Parallel()
	dev := startHearth(t)
	bob := as(t, dev, "bob")
	nobody := []string{bob[0], "HEARTH_TOKEN=nonsense"}
	away := httptest.NewServer(nil)
	away.Close()
	other := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(other.Close)
	for line, c := range map[string]struct {
		environ []string
		want    string
	}{
		"send nowhere hi":                   {bob, "hearth: there is no nowhere\n"},
		"pull nowhere":                      {bob, "hearth: there is no nowhere\n"},
		"pull board --after=0":              {bob, "hearth: you are not a member of board\n"},
		"tail board":                        {bob, "hearth: you are not a member of board\n"},
		"send a/b hi":                       {bob, "hearth: a/b: group: must be 1 to 64 characters"},
		"send tea hi":                       {nobody, "hearth: the token is not accepted: "},
		"tail tea":                          {nobody, "hearth: the token is not accepted: "},
		"send tea hi --url=" + away.URL:     {bob, "hearth: " + away.URL + " is not reachable: "},
		"tail tea --url=" + away.URL:        {bob, "hearth: " + away.URL + " is not reachable: "},
		"pull tea --url=" + other.URL + "/": {bob, "hearth: " + other.URL + "/ refused the connection: 404 Not Found\n"},
	} {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			got := hearth(t, c.environ, strings.Fields(line)...)
			require.Equal(t, exitRuntime, got.status)
			require.Empty(t, got.stdout)
			require.Contains(t, got.stderr, c.want)
		})
	}
}

func TestBadChatCommandLines(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"send":                              "group-and-text",
		"send tea":                          "expected GROUP TEXT",
		"send tea hi":                       "--token or HEARTH_TOKEN is required",
		"send tea hi --url localhost:8080":  "--url must be like",
		"tail":                              `expected "<group>"`,
		"tail tea --after x":                "--after",
		"pull tea --token=x --limit 0":      "--limit must be at least 1",
		"pull tea --token=x --url=ftp://me": "--url must be like",
	} {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			got := hearth(t, []string{"HEARTH_TOKEN="}, strings.Fields(line)...)
			require.Equal(t, exitConfig, got.status, got.stderr)
			require.Contains(t, got.stderr, want)
		})
	}
}

// tailing is a tail at work.
type tailing struct {
	t      *testing.T
	lines  chan string
	stderr *notes
	ended  chan int
	stop   context.CancelFunc
}

// notes is a standard error that may be read while it is written.
type notes struct {
	mu sync.Mutex
	bytes.Buffer
}

func (n *notes) Write(b []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.Buffer.Write(b)
}

func startTail(t *testing.T, environ []string, args ...string) *tailing {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	reader, stdout := io.Pipe()
	tail := &tailing{t: t, lines: make(chan string, 100), stderr: &notes{}, ended: make(chan int, 1), stop: cancel}
	go func() {
		tail.ended <- run(ctx, append([]string{"tail"}, args...), &Process{Environ: environ, Stdout: stdout, Stderr: tail.stderr})
		stdout.Close()
	}()
	read := make(chan struct{})
	go func() {
		defer close(read)
		for lines := bufio.NewScanner(reader); lines.Scan(); {
			tail.lines <- lines.Text()
		}
	}()
	t.Cleanup(func() { cancel(); <-read })
	return tail
}

func (tail *tailing) expect(pattern string) {
	tail.t.Helper()
	select {
	case line := <-tail.lines:
		require.Regexp(tail.t, pattern, line)
	case <-time.After(20 * time.Second):
		tail.t.Fatalf("no line like %s", pattern)
	}
}

// interrupt is Ctrl-C.
func (tail *tailing) interrupt() {
	tail.t.Helper()
	tail.stop()
	select {
	case status := <-tail.ended:
		require.Equal(tail.t, exitOK, status, tail.stderr)
	case <-time.After(20 * time.Second):
		tail.t.Fatal("tail goes on")
	}
}

func TestTailPrintsMessagesAsTheyCome(t *testing.T) {
	t.Parallel()
	dev := startHearth(t)
	ann, bob := as(t, dev, "ann"), as(t, dev, "bob")
	require.Equal(t, exitOK, hearth(t, ann, "send", "tea", "one").status)
	tail := startTail(t, bob, "tea", "--after", "0")
	tail.expect(`^1 \S+ \S+ ann: one$`)
	require.Equal(t, exitOK, hearth(t, ann, "send", "tea", "two").status)
	tail.expect(`^2 \S+ \S+ ann: two$`)
	tail.interrupt()
	require.Empty(t, tail.stderr.String())
}

func TestTailTellsHolesAndReconnects(t *testing.T) {
	t.Parallel()
	var upgrader websocket.Upgrader
	connections := make(chan int, 2)
	connections <- 1
	connections <- 2
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer ws.Close()
		say := func(format string, args ...any) {
			_ = ws.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, format, args...))
		}
		say(`{"event":"welcome","ping_interval_ms":25000}`)
		var asked struct {
			ID       int64 `json:"id"`
			AfterSeq int64 `json:"after_seq"`
		}
		for n := <-connections; ws.ReadJSON(&asked) == nil; {
			page := `{"id":%d,"ok":{"group":"tea","max_seq":%d,"messages":[%s],"holes":[%s],"more":false}}`
			if n == 2 {
				say(page, asked.ID, 9, `{"group":"tea","seq":9,"time_ms":1,"from":"ann","recalled_ms":5}`, `{"from":8,"to":8,"reason":"expired"}`)
				continue
			}
			say(page, asked.ID, 4, "", "")
			say(`{"event":"message","prev_seq":4,"group":"tea","seq":7,"time_ms":1,"from":"ann","body":[{"type":"custom","data":1}]}`)
			say(`{"event":"goodbye","code":4000,"reason":"shutting down","reconnect_after_ms":2}`)
			_ = ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(4000, ""), time.Now().Add(time.Second))
		}
	}))
	t.Cleanup(server.Close)
	tail := startTail(t, []string{"HEARTH_TOKEN=t", "HEARTH_URL=" + server.URL}, "tea", "--after=4")
	tail.expect(`^7 .* ann: \[{"type":"custom","data":1}\]$`)
	tail.expect(`^9 .* ann: \(recalled\)$`)
	tail.interrupt()
	require.ElementsMatch(t, []string{ // the connection and the messages are told side by side
		"There is no message 5 to 6: lost.", "The connection is lost (4000 shutting down), next attempt in 2ms.",
		"Connected again.", "There is no message 8: expired.", "",
	}, strings.Split(tail.stderr.String(), "\n"))
}
