package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"hearth/domain"
	"hearth/transport/console"
)

const (
	topInterval  = time.Second
	topWidth     = 80 // of a terminal that does not tell its size
	topHeight    = 24
	topInstances = 8  // lines on a terminal; of more their number is told
	topRates     = 60 // seconds of the rate line
	topSilent    = 8 * time.Second
)

// TopCmd is `hearth top`.
type TopCmd struct {
	ConsoleFlags
	Once bool `help:"Print once and end; so it does too when standard output is no terminal."`
}

// Run shows the overview until the first signal, drawn anew every second.
func (c *TopCmd) Run(ctx context.Context, p *Process) error {
	if err := c.fill(p); err != nil {
		return err
	}
	t := &top{}
	if err := c.look(ctx, t); err != nil {
		return err
	}
	if c.JSON || c.Once || !p.Terminal {
		text := t.text()
		if c.JSON {
			text = strings.TrimSpace(string(t.answer)) + "\n"
		}
		_, err := fmt.Fprint(p.Stdout, text)
		return err
	}
	fmt.Fprint(p.Stdout, enterScreen)
	defer fmt.Fprint(p.Stdout, leaveScreen)
	return c.redraw(ctx, p, t)
}

func (c *TopCmd) redraw(ctx context.Context, p *Process, t *top) error {
	tick := time.NewTicker(topInterval)
	defer tick.Stop()
	for {
		fmt.Fprint(p.Stdout, drawn(t.screen(p.size())))
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		t.failure = ""
		var refused refusedError
		switch err := c.look(ctx, t); {
		case errors.As(err, &refused):
			return err
		case err != nil && ctx.Err() == nil: // it may be back in a moment: the last that was seen stays
			t.failure = err.Error()
		}
	}
}

func (c *TopCmd) look(ctx context.Context, t *top) error {
	answer, err := c.get(ctx, "overview")
	if err != nil {
		return err
	}
	var seen console.Overview
	if err := json.Unmarshal(answer, &seen); err != nil {
		return refused("%s answered what is no overview: %w", c.URL, err)
	}
	t.take(answer, seen)
	return nil
}

// Sequences of a terminal. Its own screen comes back when the other one is left. What is wider than the terminal is cut off:
// wrapped lines would move all others.
const (
	enterScreen = "\x1b[?1049h\x1b[?25l\x1b[?7l"
	leaveScreen = "\x1b[?7h\x1b[?25h\x1b[?1049l"
	startOfLine = "\x1b[%d;1H" // of the last one, for a number below the terminal
	restOfLine  = "\x1b[K"
	restOfAll   = "\x1b[J"
)

// drawn puts a text over what stands on the screen, without clearing it first, which flickers. It goes from the last line to
// the first: those that the terminal has no room for fall on its last one, and the one that belongs there comes after them.
func drawn(text string) string {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	var b strings.Builder
	fmt.Fprintf(&b, startOfLine+restOfAll, len(lines)+1)
	for i, line := range slices.Backward(lines) {
		fmt.Fprintf(&b, startOfLine+"%s"+restOfLine, i+1, line)
	}
	return b.String()
}

// top is what was seen so far.
type top struct {
	answer  []byte
	seen    console.Overview
	rates   []*float64 // messages a second, one a look; nil where that was not known
	failure string     // of the last look; "": it is what is shown
}

func (t *top) take(answer []byte, seen console.Overview) {
	t.answer, t.seen = answer, seen
	t.rates = append(t.rates, seen.Totals.MessagesPerS)
	t.rates = t.rates[max(0, len(t.rates)-topRates):]
}

// size is the terminal's, asked for each time something is drawn: it may have become another.
func (p *Process) size() (width, height int) {
	if p.Size != nil {
		if width, height = p.Size(); width > 0 && height > 0 {
			return width, height
		}
	}
	return topWidth, topHeight
}

// screen is what a terminal has room for: the first lines before the rooms, and of those as many as fit.
func (t *top) screen(width, height int) string {
	lines := t.lines(topInstances)
	lines = lines[:min(len(lines), height)]
	for i, line := range lines {
		lines[i] = strings.TrimRight(fit(line, width), " ")
	}
	return strings.Join(lines, "\n") + "\n"
}

// text is all that was seen.
func (t *top) text() string { return strings.Join(t.lines(len(t.seen.Instances)), "\n") + "\n" }

func (t *top) lines(instances int) []string {
	lines := append(t.summary(), "")
	lines = append(append(lines, t.instances(instances)...), "")
	return append(lines, t.hot()...)
}

func (t *top) summary() []string {
	o, totals := &t.seen, &t.seen.Totals
	first := fmt.Sprintf("hearth %s  seen from %s  redis %s  mysql %s", time.UnixMilli(o.TimeMS).Format(time.TimeOnly),
		printable(o.Instance), storeWord(o.Stores["redis"]), storeWord(o.Stores["mysql"]))
	if t.failure != "" {
		first = "NOT NEW: " + printable(t.failure)
	}
	return []string{
		first,
		fmt.Sprintf("messages %s/s  deliveries %s/s  p99 %s ms  connections %s  users %s",
			decimal(totals.MessagesPerS), decimal(totals.DeliveriesPerS), decimal(totals.P99MS), integer(totals.Connections), integer(totals.Users)),
		fmt.Sprintf("backlog %s  lag %s ms  rows %s/s  dead letters %s",
			integer(totals.Backlog), integer(totals.LagMS), decimal(totals.RowsPerS), integer(totals.DeadLetters)),
		"rate " + sparkline(t.rates),
	}
}

func storeWord(s console.StoreState) string {
	if s.OK {
		return "ok"
	}
	return "AWAY"
}

func (t *top) instances(most int) []string {
	lines := []string{fmt.Sprintf("%-18s %6s %7s %7s %8s %9s %7s %8s", "instance", "up", "conns", "users", "msgs/s", "delivs/s", "backlog", "lag ms")}
	var newest int64
	for _, s := range t.seen.Instances {
		newest = max(newest, s.SeenMS)
	}
	for i, s := range t.seen.Instances {
		if i == most {
			return append(lines, fmt.Sprintf("… and %d more", len(t.seen.Instances)-most))
		}
		lines = append(lines, fmt.Sprintf("%s %6s %7s %7s %8s %9s %7s %8s",
			fit(printable(s.Name)+stateOf(s, newest), 18), age(s.SeenMS-s.StartedMS), integer(s.Connections), integer(s.Users),
			decimal(s.MessagesPerS), decimal(s.DeliveriesPerS), integer(s.Backlog), integer(s.LagMS)))
	}
	return lines
}

// stateOf is what has to be said of an instance; "" where all is well.
func stateOf(s domain.InstanceStatus, newestMS int64) string {
	switch {
	case s.SeenMS < newestMS-topSilent.Milliseconds():
		return " SILENT"
	case s.Draining:
		return " draining"
	case !s.Ready:
		return " UNREADY"
	}
	return ""
}

func (t *top) hot() []string {
	lines := []string{fmt.Sprintf("%4s %6s %7s  %s", "rank", "heat", "online", "room")}
	if t.seen.Hot == nil {
		return append(lines, "     not known")
	}
	for _, e := range t.seen.Hot.Groups {
		name := e.Name
		if name == "" {
			name = e.Group
		}
		lines = append(lines, fmt.Sprintf("%4d %6d %7d  %s", e.Rank, e.Heat, e.Online, printable(name)))
	}
	return lines
}

// unknown stands for what nobody knows: 0 would say something else.
const unknown = "-"

func integer(v *int64) string {
	if v == nil {
		return unknown
	}
	return fmt.Sprint(*v)
}

func decimal(v *float64) string {
	switch {
	case v == nil:
		return unknown
	case *v >= 1000:
		return fmt.Sprintf("%.0f", *v)
	}
	return fmt.Sprintf("%.1f", *v)
}

// age is a time in its two largest units.
func age(ms int64) string {
	switch d := time.Duration(max(0, ms)) * time.Millisecond; {
	case d >= 24*time.Hour:
		return fmt.Sprintf("%dd%dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
	case d >= time.Hour:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	case d >= time.Minute:
		return fmt.Sprintf("%dm%ds", d/time.Minute, d%time.Minute/time.Second)
	default:
		return fmt.Sprintf("%ds", d/time.Second)
	}
}

var bars = []rune("▁▂▃▄▅▆▇█")

// sparkline draws values against the highest of them, and says which that is.
func sparkline(values []*float64) string {
	highest := 0.0
	for _, v := range values {
		if v != nil {
			highest = max(highest, *v)
		}
	}
	var b strings.Builder
	for _, v := range values {
		switch {
		case v == nil:
			b.WriteRune(' ')
		case highest == 0:
			b.WriteRune(bars[0])
		default:
			b.WriteRune(bars[int(*v/highest*float64(len(bars)-1)+0.5)])
		}
	}
	return fmt.Sprintf("%s  at most %.1f/s", b.String(), highest)
}

// fit cuts or fills a text to a width in columns.
func fit(text string, width int) string {
	used := 0
	for i, r := range text {
		if used+columns(r) > width {
			return text[:i] + strings.Repeat(" ", width-used)
		}
		used += columns(r)
	}
	return text + strings.Repeat(" ", width-used)
}

// columns is 2 for East Asian letters and pictures, about.
func columns(r rune) int {
	if r >= 0x1100 && r <= 0x115f || r >= 0x2e80 && r <= 0xa4cf || r >= 0xac00 && r <= 0xd7a3 || r >= 0xf900 && r <= 0xfaff ||
		r >= 0xfe30 && r <= 0xfe6f || r >= 0xff00 && r <= 0xff60 || r >= 0xffe0 && r <= 0xffe6 || r >= 0x2600 && r <= 0x27bf || r >= 0x1f000 {
		return 2
	}
	return 1
}
