package e2e

import (
	"bytes"
	wav "encoding/binary"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// enter opens the demo as a user in a room, and waits until it is connected.
func (c *chrome) enter(base, user, room string) *window {
	c.t.Helper()
	w := c.open(fmt.Sprintf("%s/demo?user=%s&room=%s", base, user, room))
	w.see(testid("state", "state", "online"))
	w.see(testid("composer"))
	return w
}

// shows waits until the room shows every message from 1 to top, once and in order, and no other.
func (w *window) shows(top int) {
	w.t.Helper()
	want := make([]string, top)
	for i := range want {
		want[i] = strconv.Itoa(i + 1)
	}
	w.awaitAll(fmt.Sprintf("messages 1…%d", top), testid("message"), "e.dataset.seq", func(seqs []string) bool { return slices.Equal(seqs, want) })
}

// just wants one value, of one element.
func just(want string) func([]string) bool {
	return func(values []string) bool { return slices.Equal(values, []string{want}) }
}

// part selects what lies in a message of a kind.
func part(seq int, kind string, selector chromedp.CSS) chromedp.CSS {
	return testid("message", "seq", strconv.Itoa(seq), "kind", kind) + " " + selector
}

// TestTwoWindowsInTheDemo: two people on two instances chat, with a picture, voice notes and a sticker. One leaves, misses
// a page and a half, comes back, and has everything once and in order. A message is taken back; a badge counts what is
// unread; the board is in the order of the API.
func TestTwoWindowsInTheDemo(t *testing.T) {
	t.Parallel()
	s := newStack(t, setup{instances: 2, env: map[string]string{
		"HEARTH_DEMO_ENABLED": "true", "HEARTH_HEAT_SNAPSHOT_TTL": "500ms", "HEARTH_UPLOADS_DIR": t.TempDir(),
		"HEARTH_LIMITS_USER_RATE": "0", "HEARTH_LIMITS_GROUP_RATE": "0",
	}})
	c := openChrome(t)
	ann := c.enter("http://"+s.instances[0].addr, "demo-ann", "demo-lobby")
	bob := c.enter("http://"+s.instances[1].addr, "demo-bob", "demo-lobby")
	windows := []*window{ann, bob}

	ann.write(testid("composer"), say("good morning"))
	bob.awaitText(testid("message", "seq", "1", "kind", "text"), "good morning")
	bob.write(testid("composer"), say("hello ann"))
	ann.awaitText(testid("message", "seq", "2", "kind", "text"), "hello ann")

	ann.choose(testid("attach-image"), pictureFile(t))
	for _, w := range windows {
		w.awaitAll("the picture", part(3, "image", "img"), "e.complete && e.naturalWidth", just("40"))
	}
	bob.choose(testid("attach-voice"), hum(t))
	for _, w := range windows {
		w.awaitAll("the sound", part(4, "voice", "audio"), "e.readyState > 0 && e.duration", just("1"))
	}
	ann.click(testid("record-voice"))
	ann.see(testid("record-voice") + "[aria-pressed=true]")
	ann.click(testid("record-voice"))
	for _, w := range windows {
		w.awaitAll("the recording", part(5, "voice", "audio"), "e.readyState > 0", just("true"))
	}
	bob.click(testid("sticker"))
	bob.click(testid("sticker-choice", "index", "2"))
	for _, w := range windows {
		w.see(testid("message", "seq", "6", "kind", "sticker"))
		w.shows(6)
	}

	ann.click(testid("drop"))
	ann.see(testid("state", "state", "dropped"))
	for n := range 150 {
		s.user(1, "demo-cy").post("/v1/groups/demo-lobby/messages", fields{"body": textBody(say("while she is away", n))}).ok(201, nil)
	}
	bob.awaitText(testid("message", "seq", "156"), "while she is away 149")
	ann.shows(6)
	ann.shoot("dropped")
	ann.click(testid("reconnect"))
	ann.shows(156)
	ann.awaitText(testid("note"), "nothing missing")
	ann.shoot("caught-up")

	ann.write(testid("composer"), say("oops"))
	bob.awaitText(testid("message", "seq", "157"), "oops")
	ann.click(part(157, "text", testid("recall")))
	for _, w := range windows {
		w.see(testid("message", "seq", "157", "kind", "recalled"))
	}

	bob.click(testid("quiet-row", "group", "demo-music"))
	bob.write(testid("composer"), say("is anybody here"))
	ann.see(testid("hot-row", "group", "demo-music"))
	for n := range 3 {
		ann.write(testid("composer"), say("are you there", n))
	}
	bob.awaitAll("three unread", testid("unread", "group", "demo-lobby"), "e.innerText", just("3"))
	bob.click(testid("hot-row", "group", "demo-lobby"))
	bob.awaitAll("none unread", testid("unread", "group", "demo-lobby"), "e.innerText", func(badges []string) bool { return len(badges) == 0 })
	ann.awaitAll("read by bob", part(160, "text", testid("receipt")), "e.dataset.readers", just("1"))

	await(t, patience, "the board is in the order of the API", func() (bool, any) {
		var ranking struct{ Groups []hotEntry }
		s.server(0).get("/v1/groups/hot").ok(200, &ranking)
		var want []string
		for _, e := range ranking.Groups {
			want = append(want, fmt.Sprintf("%d %s %d", e.Rank, e.Group, e.Heat))
		}
		board := bob.all(testid("hot-row"), "`${e.dataset.rank} ${e.dataset.group} ${e.dataset.heat}`")
		return len(want) == 2 && slices.Equal(board, want), fmt.Sprint(board, want)
	})
	ann.shootAll("demo")
	for _, size := range [][2]int64{{640, 400}, {740, 360}} {
		ann.dress(size[0], size[1], "light")
		ann.awaitAll("messages in a small window", "[role=log]", wholeMessages, func(counts []string) bool {
			n, err := strconv.Atoi(strings.Join(counts, ""))
			return err == nil && n >= 4
		})
		ann.shoot(fmt.Sprintf("demo-%dx%d", size[0], size[1]))
	}
	ann.click(testid("tools"))
	ann.see(testid("drop"))
}

// wholeMessages counts the messages that lie within the window of a log from top to bottom.
const wholeMessages = `[...e.querySelectorAll("[data-testid=message]")].map(m => m.getBoundingClientRect())
	.filter(m => m.top >= e.getBoundingClientRect().top - 1 && m.bottom <= e.getBoundingClientRect().bottom + 1).length`

// TestDemoOfDev: the page of `hearth dev` goes over to the other instance with nothing missing, and survives a burst.
func TestDemoOfDev(t *testing.T) {
	t.Parallel()
	d := newDev(t, "--bots", "6")
	d.up()
	c := openChrome(t)
	ann, bob := c.enter(d.urls[0], "ann", "den"), c.enter(d.urls[1], "bob", "den")
	ann.write(testid("composer"), say("on the first instance"))
	ann.shows(1)
	ann.click(testid("other-instance"))
	ann.awaitText(testid("state"), "dev-2")
	bob.write(testid("composer"), say("on the second"))
	ann.shows(2)
	bob.click(testid("burst"))
	ann.awaitText(testid("position"), "102")
	c.open(d.urls[0]+"/demo").awaitAll("bots talk in two rooms", testid("hot-row"), "e.dataset.group", func(rows []string) bool { return len(rows) >= 2 })
}

// pictureFile is a file with a picture of 40 by 30.
func pictureFile(t *testing.T) (file string) {
	t.Helper()
	img := image.NewRGBA(image.Rect(0, 0, 40, 30))
	for x := range 40 {
		for y := range 30 {
			img.Set(x, y, color.RGBA{uint8(6 * x), uint8(8 * y), 120, 255})
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return fileOf(t, "picture.png", b.Bytes())
}

// hum is a file with a second of sound (WAV, PCM, 8 bits, 8 kHz).
func hum(t *testing.T) (file string) {
	t.Helper()
	const rate = 8000
	var b bytes.Buffer
	b.WriteString("RIFF")
	_ = wav.Write(&b, wav.LittleEndian, uint32(36+rate))
	b.WriteString("WAVEfmt ")
	_ = wav.Write(&b, wav.LittleEndian, struct {
		Size             uint32
		Format, Channels uint16
		Rate, Bytes      uint32
		Align, Bits      uint16
	}{16, 1, 1, rate, rate, 1, 8})
	b.WriteString("data")
	_ = wav.Write(&b, wav.LittleEndian, uint32(rate))
	b.WriteString(strings.Repeat("\x70\x90", rate/2))
	return fileOf(t, "hum.wav", b.Bytes())
}

func fileOf(t *testing.T, name string, content []byte) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
