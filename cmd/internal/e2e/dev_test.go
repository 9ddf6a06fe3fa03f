package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"
)

// dev is a `hearth dev` in an empty folder.
type dev struct {
	process
	urls   []string // of its instances
	apiKey string
}

func newDev(t testing.TB, args ...string) *dev {
	t.Helper()
	dir := t.TempDir()
	d := &dev{process: process{
		t: t, args: append([]string{"dev", "--addr", "127.0.0.1:0"}, args...),
		dir: dir, out: filepath.Join(dir, "out"), log: filepath.Join(dir, "log"),
	}}
	t.Cleanup(func() { d.end(slices.Concat(sharedSecrets, []string{d.apiKey})) })
	return d
}

var (
	devInstance = regexp.MustCompile(`(?m)^ *instance \d+ +(http://127\.0\.0\.1:\d+)$`)
	devKey      = regexp.MustCompile(`(?m)^ *API key +(\w+)$`)
	devReady    = regexp.MustCompile(`Ready in \d+ ms`)
)

// up starts it and reads what it prints.
func (d *dev) up() {
	d.t.Helper()
	d.start()
	await(d.t, patience, "dev says that it is ready", func() (bool, any) {
		if err := d.running(); err != nil {
			d.t.Fatalf("dev %v", err)
		}
		out := d.printed()
		return devReady.MatchString(out) && strings.Contains(out, "curl "), out
	})
	d.urls = nil
	for _, found := range devInstance.FindAllStringSubmatch(d.printed(), -1) {
		d.urls = append(d.urls, found[1])
	}
	key := devKey.FindStringSubmatch(d.printed())
	if len(d.urls) != 2 || key == nil {
		d.t.Fatalf("dev printed %s, want two instances and a key", d.printed())
	}
	d.apiKey = key[1]
}

// token asks for a user's as the demo page does.
func (d *dev) token(user string) string {
	d.t.Helper()
	request, err := http.NewRequest("POST", d.urls[0]+"/demo/token", strings.NewReader(`{"user":"`+user+`","name":"x"}`))
	if err != nil {
		d.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Origin", d.urls[0])
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	response, err := client.Do(request)
	if err != nil {
		d.t.Fatal(err)
	}
	defer response.Body.Close()
	var got struct{ Token string }
	if err := json.NewDecoder(response.Body).Decode(&got); err != nil || got.Token == "" {
		d.t.Fatalf("token for %s: %v, %s", user, err, response.Status)
	}
	return got.Token
}

func (d *dev) connect(n int, user string) *client {
	d.t.Helper()
	c, err := dial(d.t, "ws"+strings.TrimPrefix(d.urls[n], "http")+"/v1/ws", d.token(user), user, nil)
	if err != nil {
		d.t.Fatal(err)
	}
	return c
}

// TestDev: two clients on the two instances of an embedded stack, and the same again after a restart.
func TestDev(t *testing.T) {
	t.Parallel()
	d := newDev(t, "--bots", "0")
	var known []ack
	top := int64(0)
	for round := range 3 {
		d.up()
		for _, line := range []string{d.urls[0] + "/demo", d.urls[0] + "/v1/docs", d.urls[0] + "/metrics", "API key", "bots       0"} {
			if !strings.Contains(d.printed(), line) {
				t.Errorf("printed: got %s, want %q in it", d.printed(), line)
			}
		}
		known = append(known, d.talk(t, round, known)...)
		if first := known[round*said]; first.Seq <= top {
			t.Errorf("first seq of round %d: got %d, there was %d before", round, first.Seq, top)
		}
		top = known[len(known)-1].Seq
		if round == 1 {
			d.kill()
		} else {
			d.stop()
		}
	}
	if _, err := os.Stat(filepath.Join(d.dir, ".hearth", "dev.db")); err != nil {
		t.Errorf("data: %v", err)
	}
}

// said is how many messages a round has: of each user fewer than the 40 that he may send at once.
const said = 60

// talk lets alice and bob send in a room that nobody made, after they have seen what was there.
func (d *dev) talk(t *testing.T, round int, known []ack) []ack {
	t.Helper()
	clients := []*client{d.connect(0, "alice"), d.connect(1, "bob")}
	defer clients[0].close()
	defer clients[1].close()
	for _, c := range clients {
		var p page
		c.do("subscribe", fields{"group": "a-room-of-their-own", "after_seq": 0, "limit": 200}, &p)
		if _, err := p.explained(0); err != nil || p.More {
			t.Fatalf("round %d: page of %s: %v, more %v", round, c.user, err, p.More)
		}
		sameMessages(t, fmt.Sprintf("round %d: history for %s", round, c.user), p.Messages, known)
	}
	answers := make([][]sent, 2)
	var sending errgroup.Group
	for n, c := range clients {
		sending.Go(func() (err error) {
			answers[n], err = c.stream(said/2, 4, func(i int) fields {
				return fields{"group": "a-room-of-their-own", "body": textBody(say(round, i))}
			})
			return err
		})
	}
	if err := sending.Wait(); err != nil {
		t.Fatal(err)
	}
	var acks []ack
	for n, c := range clients {
		for i, a := range answers[n] {
			acks = append(acks, ack{sent: a, From: c.user, Body: compactText(say(round, i))})
		}
	}
	acks = ofGroup(acks, "a-room-of-their-own")
	for _, c := range clients {
		pushes := c.awaitPushes("a-room-of-their-own", len(acks))
		got := make([]message, len(pushes))
		for i, p := range pushes {
			got[i] = p.message
		}
		sameMessages(t, fmt.Sprintf("round %d: pushes to %s", round, c.user), got, acks)
	}
	// Of a dev stack that is killed only SQLite is left.
	await(t, patience, "the messages are in SQLite", func() (bool, any) {
		var p page
		clients[0].do("subscribe", fields{"group": "a-room-of-their-own"}, &p)
		return p.PersistedSeq >= acks[said-1].Seq, p.PersistedSeq
	})
	var last message
	d.get(t, fmt.Sprintf("/v1/groups/a-room-of-their-own/messages/%d", acks[said-1].Seq)).ok(200, &last)
	if last.From != acks[said-1].From {
		t.Errorf("last message with the printed key: got %+v", last)
	}
	return acks
}

// get asks with the printed API key.
func (d *dev) get(t *testing.T, path string) *answer {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	return (&caller{t, client, d.urls[1], d.apiKey}).get(path)
}

// TestDevIsForThisMachine: no other address, no other Host.
func TestDevIsForThisMachine(t *testing.T) {
	t.Parallel()
	open := newDev(t)
	open.args = []string{"dev", "--addr", "0.0.0.0:0"}
	open.start()
	if code := open.wait(); code != 2 || !strings.Contains(string(open.logged()), "--i-know-it-is-insecure") {
		t.Errorf("dev on 0.0.0.0: got exit code %d and %s, want 2 and the way out", code, open.logged())
	}
	d := newDev(t, "--bots", "0")
	d.up()
	request, err := http.NewRequest("GET", d.urls[0]+"/demo", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Host = "evil.example"
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusForbidden {
		t.Errorf("demo under another name: got %s, want 403", response.Status)
	}
}
