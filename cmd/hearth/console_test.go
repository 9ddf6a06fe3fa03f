package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hearth/cmd/internal/app"
	"hearth/domain"
	"hearth/transport/console"
)

// admin is the environment of an operator.
func admin(dev *app.Dev) []string {
	return []string{"HEARTH_CONSOLE_URL=" + dev.URLs[0] + "/", "HEARTH_CONSOLE_KEY=" + dev.Admin}
}

func TestTopAndInspectShowARunningHearth(t *testing.T) {
	t.Parallel()
	dev := startHearth(t)
	require.Zero(t, hearth(t, as(t, dev, "ann"), "send", "tea", "hello").status)

	got := hearth(t, admin(dev), "top")
	require.Zero(t, got.status, got.stderr)
	require.Regexp(t, `(?m)^hearth .* seen from dev-1  redis ok  mysql ok$`, got.stdout)
	require.Regexp(t, `(?m)^   1      1       0  Tea$`, got.stdout)
	require.NotContains(t, got.stdout, "\x1b", "standard output is no terminal")

	var seen console.Overview
	require.NoError(t, json.Unmarshal([]byte(hearth(t, admin(dev), "top", "--once", "--json").stdout), &seen))
	require.Equal(t, "tea", seen.Hot.Groups[0].Group)

	got = hearth(t, admin(dev), "inspect", "group", "tea")
	require.Contains(t, got.stdout, "group      tea  Tea (room)\nmembers    1, owner ann, online 0, heat 1\n")
	require.Contains(t, got.stdout, "recent 1 to 1 (1)")
	var group domain.GroupInspection
	require.NoError(t, json.Unmarshal([]byte(hearth(t, admin(dev), "inspect", "group", "tea", "--json").stdout), &group))
	require.Equal(t, int64(1), group.Redis.MaxSeq)

	got = hearth(t, admin(dev), "inspect", "user", "ann")
	require.Regexp(t, `^ann  (offline since|online).*\n`, got.stdout)
	require.Contains(t, got.stdout, "  tea  owner, read 1 of 1, 0 unread\n")
	require.Contains(t, got.stdout, "  board  owner, read 0 of 0, 0 unread\n")
}

func TestConsoleErrorsAreInWords(t *testing.T) {
	t.Parallel()
	dev := startHearth(t)
	away := httptest.NewServer(nil)
	away.Close()
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }))
	t.Cleanup(other.Close)
	for line, c := range map[string]struct {
		status int
		want   string
	}{
		"top --key=wrong":                    {exitRuntime, "does not know the key"},
		"top --url=" + away.URL:              {exitRuntime, "hearth: " + away.URL + " is not reachable: dial tcp"},
		"top --url=" + other.URL:             {exitRuntime, "hearth: there is no console at " + other.URL},
		"top --url=" + dev.URLs[0] + "/demo": {exitRuntime, "is console.keys set"},
		"top --url=localhost:9090":           {exitConfig, "--url must be like http://127.0.0.1:9090"},
		"inspect group nowhere":              {exitRuntime, "hearth: there is no such group\n"},
		"inspect user nobody":                {exitRuntime, "hearth: nobody of this id"},
		"inspect group ../../v1":             {exitConfig, "ID: must be"},
	} {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			got := hearth(t, admin(dev), strings.Fields(line)...)
			require.Equal(t, c.status, got.status, got.stderr)
			require.Empty(t, got.stdout)
			require.Contains(t, got.stderr, c.want)
			require.NotContains(t, got.stderr, dev.Admin)
		})
	}
	got := hearth(t, nil, "top")
	require.Equal(t, exitConfig, got.status)
	require.Contains(t, got.stderr, "--key or HEARTH_CONSOLE_KEY is required")
}

func TestTopOnATerminalIsDrawnAnewAndRestoresIt(t *testing.T) {
	t.Parallel()
	dev := startHearth(t)
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	out := &notes{}
	ended := make(chan int, 1)
	sizes := make(chan [2]int, 1)
	sizes <- [2]int{80, 24}
	size := func() (width, height int) {
		now := <-sizes
		sizes <- now
		return now[0], now[1]
	}
	go func() {
		ended <- run(ctx, []string{"top"}, &Process{Environ: admin(dev), Stdout: out, Stderr: out, Terminal: true, Size: size})
	}()
	text := func() string {
		out.mu.Lock()
		defer out.mu.Unlock()
		return out.String()
	}
	require.Eventually(t, func() bool { return strings.Count(text(), "rank   heat  online  room") >= 2 }, 30*time.Second, 10*time.Millisecond)
	<-sizes
	sizes <- [2]int{6, 2}
	require.Eventually(t, func() bool { return strings.HasSuffix(text(), "\x1b[1;1Hhearth"+restOfLine) }, 30*time.Second, 10*time.Millisecond, "it became smaller")
	interrupt()
	require.Zero(t, <-ended)
	require.True(t, strings.HasPrefix(text(), enterScreen), "its own screen")
	require.True(t, strings.HasSuffix(text(), leaveScreen), "the shell's screen and its cursor are back")
}

// terminal shows what drawn writes, as one of a size does.
type terminal struct {
	rows               []string
	width, row, column int
}

func newTerminal(height, width int) *terminal {
	return &terminal{rows: make([]string, height), width: width}
}

var control = regexp.MustCompile(`^\x1b\[(\d*)(?:;1)?([HKJ])`)

func (s *terminal) write(t *testing.T, text string) {
	t.Helper()
	for text != "" {
		if c := control.FindStringSubmatch(text); c != nil {
			text = text[len(c[0]):]
			switch c[2] {
			case "H":
				row, err := strconv.Atoi(c[1])
				require.NoError(t, err)
				s.row, s.column = min(row, len(s.rows))-1, 0
			case "K":
				s.rows[s.row] = s.rows[s.row][:s.column]
			case "J":
				s.rows[s.row] = s.rows[s.row][:s.column]
				clear(s.rows[s.row+1:])
			}
			continue
		}
		require.True(t, text[0] >= ' ' && text[0] < 0x7f, "%q would move all other lines", text)
		if s.column < s.width {
			row := []byte(s.rows[s.row])
			s.rows[s.row] = string(append(row[:s.column], append([]byte{text[0]}, row[min(s.column+1, len(row)):]...)...))
			s.column++
		}
		text = text[1:]
	}
}

func TestTopShowsAsMuchAsTheTerminalHasRoomFor(t *testing.T) {
	t.Parallel()
	small := newTerminal(3, 8)
	small.write(t, drawn("first\nsecond line\nthird\nfourth\nfifth\n"))
	require.Equal(t, []string{"first", "second l", "third"}, small.rows)
	large := newTerminal(4, 20)
	large.write(t, drawn("first\nsecond line\nthird\n"))
	require.Equal(t, []string{"first", "second line", "third", ""}, large.rows)
	large.write(t, drawn("1\n2\n"))
	require.Equal(t, []string{"1", "2", "", ""}, large.rows, "nothing of before is left")
	require.True(t, strings.HasSuffix(enterScreen, "\x1b[?7l"), "it does not wrap")
	require.True(t, strings.HasPrefix(leaveScreen, "\x1b[?7h"), "as the shell expects it to")
}

func TestTopGoesOnWhileItsInstanceIsAwayAndEndsWithoutItsKey(t *testing.T) {
	t.Parallel()
	answers := make(chan func(w http.ResponseWriter), 10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { (<-answers)(w) }))
	t.Cleanup(server.Close)
	answers <- func(w http.ResponseWriter) { fmt.Fprint(w, `{"instance":"a"}`) }
	answers <- func(w http.ResponseWriter) {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprint(w, `{"code":"unavailable","detail":"in a moment"}`)
	}
	answers <- func(w http.ResponseWriter) {
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, `{"code":"unauthorized","detail":"\u001b[2J gone"}`)
	}
	var out bytes.Buffer
	p := &Process{Environ: []string{"HEARTH_CONSOLE_KEY=k", "HEARTH_CONSOLE_URL=" + server.URL}, Stdout: &out, Stderr: &out, Terminal: true}
	require.Equal(t, exitRuntime, run(t.Context(), []string{"top"}, p))
	require.Contains(t, out.String(), "NOT NEW: "+server.URL+": in a moment (unavailable)")
	require.Contains(t, out.String(), leaveScreen+"hearth: "+server.URL+" does not know the key: \uFFFD[2J gone\n", "the screen is left first")
}

func number[N int64 | float64](n N) *N { return &n }

func TestTopFitsItsTerminal(t *testing.T) {
	t.Parallel()
	seen := console.Overview{
		TimeMS: 1_700_000_000_000, Instance: "a", Stores: map[string]console.StoreState{"redis": {OK: true}},
		Totals: domain.FleetTotals{
			MessagesPerS: number(123456.7), DeliveriesPerS: number(9876543.2), P99MS: number(12345.6),
			Connections: number[int64](1_234_567), Users: number[int64](1_234_567), Backlog: number[int64](12_345_678),
			LagMS: number[int64](12_345_678), RowsPerS: number(123456.7),
		},
		Hot: &console.HotRooms{},
	}
	for i := range 12 {
		seen.Instances = append(seen.Instances, domain.InstanceStatus{
			Name: strings.Repeat("very-long-name-", 3) + fmt.Sprint(i), StartedMS: 1, SeenMS: 1_700_000_000_000, Ready: true,
			Connections: number[int64](100_000), MessagesPerS: number(12345.6), DeliveriesPerS: number(1234567.8),
		})
	}
	seen.Instances[1].Name, seen.Instances[1].Draining = "b", true
	seen.Instances[2].Name, seen.Instances[2].Ready = "c", false
	seen.Instances[3].Name, seen.Instances[3].SeenMS = "d", 1_699_999_990_000
	for i := range 20 {
		seen.Hot.Groups = append(seen.Hot.Groups, domain.HotEntry{Rank: i + 1, Heat: 1000, Name: "部屋\x1b[2J" + strings.Repeat("部屋", 40)})
	}
	screen := &top{}
	for range 200 {
		screen.take(nil, seen)
	}
	for _, size := range [][2]int{{80, 24}, {30, 8}, {8, 3}, {1, 1}, {140, 40}, {100, 200}} {
		width, height := size[0], size[1]
		lines := strings.Split(strings.TrimSuffix(screen.screen(width, height), "\n"), "\n")
		require.LessOrEqual(t, len(lines), height, "all of it are 37")
		require.GreaterOrEqual(t, len(lines), min(height, 37))
		require.True(t, strings.HasPrefix(lines[0], "hearth "[:min(7, width)]), "the first line first")
		for _, line := range lines {
			used := 0
			for _, r := range line {
				used += columns(r)
			}
			require.LessOrEqual(t, used, width, line)
		}
	}
	text := screen.screen(topWidth, topHeight)
	require.NotContains(t, text, "\x1b")
	require.Contains(t, text, "mysql AWAY")
	require.Contains(t, text, "dead letters -", "not known is not 0")
	require.Contains(t, text, "\nb draining ")
	require.Contains(t, text, "\nc UNREADY ")
	require.Contains(t, text, "\nd SILENT ")
	require.Contains(t, text, "… and 4 more\n")
	require.NotContains(t, text, "\n  20   1000 ", "no room for it")
	whole := screen.text()
	require.Contains(t, whole, "\n  20   1000 ")
	require.Contains(t, whole, strings.Repeat("部屋", 40)+"\n", "not cut")
	require.NotContains(t, whole, "more\n")
	require.NotContains(t, whole, "\x1b")

	seen.Hot = nil
	screen.take(nil, seen)
	require.Contains(t, screen.screen(topWidth, topHeight), "not known")
}

func TestSparklineIsDrawnAgainstTheHighest(t *testing.T) {
	t.Parallel()
	require.Equal(t, "▁ ▅█  at most 10.0/s", sparkline([]*float64{number(0.0), nil, number(5.0), number(10.0)}))
	require.Equal(t, "▁  at most 0.0/s", sparkline([]*float64{number(0.0)}))
}

func TestAgesHaveTwoUnits(t *testing.T) {
	t.Parallel()
	for want, d := range map[string]time.Duration{
		"5s": 5 * time.Second, "1m5s": 65 * time.Second, "2h3m": 123 * time.Minute, "3d1h": 73 * time.Hour, "0s": -time.Second,
	} {
		require.Equal(t, want, age(d.Milliseconds()))
	}
}
