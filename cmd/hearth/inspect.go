package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"hearth/domain"
)

// InspectCmd is `hearth inspect`.
type InspectCmd struct {
	Group InspectGroupCmd `cmd:"" help:"What Redis and MySQL have of a group, side by side."`
	User  InspectUserCmd  `cmd:"" help:"Where a user is connected, and how far he has read."`
}

// InspectGroupCmd is `hearth inspect group`.
type InspectGroupCmd struct {
	ConsoleFlags
	ID string `arg:"" name:"ID" help:"The group."`
}

// Run prints a few lines.
func (c *InspectGroupCmd) Run(ctx context.Context, p *Process) error {
	var g domain.GroupInspection
	return c.show(ctx, p, &g, func(w io.Writer) { printGroup(w, &g) }, "groups", c.ID)
}

// InspectUserCmd is `hearth inspect user`.
type InspectUserCmd struct {
	ConsoleFlags
	ID string `arg:"" name:"ID" help:"The user."`
}

// Run prints a few lines; of very many groups the first.
func (c *InspectUserCmd) Run(ctx context.Context, p *Process) error {
	var u domain.UserInspection
	return c.show(ctx, p, &u, func(w io.Writer) { printUser(w, &u) }, "users", c.ID)
}

// show asks for a path and prints the answer as it is, or in words.
func (f *ConsoleFlags) show(ctx context.Context, p *Process, into any, inWords func(io.Writer), path ...string) error {
	if err := f.fill(p); err != nil {
		return err
	}
	if err := domain.CheckGroup("ID", path[1]); err != nil { // or it could be another path
		return usageError{err}
	}
	answer, err := f.get(ctx, path...)
	if err != nil {
		return err
	}
	if f.JSON {
		_, err := fmt.Fprintln(p.Stdout, strings.TrimSpace(string(answer)))
		return err
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return fmt.Errorf("%s answered what is no inspection: %w", f.URL, err)
	}
	inWords(p.Stdout)
	return nil
}

func printGroup(w io.Writer, g *domain.GroupInspection) {
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%-10s "+format+"\n", append([]any{name}, args...)...)
	}
	state := ""
	if g.Dismissed {
		state = ", dismissed"
	}
	line("group", "%s  %s (%s%s)", g.Group, printable(g.Name), printable(string(g.Type)), state)
	line("members", "%s, owner %s, online %s, heat %s", count(g.Members), orDash(g.Owner), count(g.Online), count(g.Heat))
	line("place", "partition %d, generation %d, version %d", g.Partition, g.Generation, g.Version)
	if g.Redis == nil {
		line("redis", "nothing known")
	} else {
		line("redis", "max seq %d, persisted %d, recent %s", g.Redis.MaxSeq, g.Redis.PersistedSeq,
			span(g.Redis.RecentFrom, g.Redis.RecentTo, g.Redis.RecentCount))
	}
	switch {
	case g.MySQL == nil:
		line("mysql", "does not answer")
	case g.MySQL.Count == nil:
		line("mysql", "rows %d to %d, more than %d", g.MySQL.MinSeq, g.MySQL.MaxSeq, domain.InspectRows)
	default:
		line("mysql", "rows %s", span(g.MySQL.MinSeq, g.MySQL.MaxSeq, *g.MySQL.Count))
	}
	if g.Unwritten != nil {
		line("unwritten", "%s", span(g.Unwritten.From, g.Unwritten.To, g.Unwritten.Count))
	}
	for _, h := range g.Holes {
		line("hole", "%d to %d (%d): %s", h.From, h.To, h.To-h.From+1, printable(h.Reason))
	}
	for _, seq := range g.DeadLetters {
		line("refused", "%d: a dead letter, can be retried", seq)
	}
}

func printUser(w io.Writer, u *domain.UserInspection) {
	switch {
	case u.Online:
		fmt.Fprintf(w, "%s  online, %s\n", u.User, plural(len(u.Connections), "connection"))
	case u.LastSeenMS > 0:
		fmt.Fprintf(w, "%s  offline since %s\n", u.User, time.UnixMilli(u.LastSeenMS).Format(time.DateTime))
	default:
		fmt.Fprintf(w, "%s  offline\n", u.User)
	}
	for _, c := range u.Connections {
		fmt.Fprintf(w, "  conn %s on %s, device %s, since %s\n",
			printable(c.Conn), printable(c.Instance), orDash(c.Device), time.UnixMilli(c.SinceMS).Format(time.DateTime))
	}
	if u.Groups == nil {
		fmt.Fprintln(w, "  groups not known: MySQL does not answer")
	}
	for _, g := range u.Groups {
		fmt.Fprintf(w, "  %s  %s, read %d of %d, %d unread\n", g.Group, g.Role, g.ReadSeq, g.MaxSeq, g.Unread)
	}
	if u.Cursor != "" {
		fmt.Fprintln(w, "  … and more")
	}
}

func span(from, to, n int64) string {
	if n == 0 {
		return "none"
	}
	return fmt.Sprintf("%d to %d (%d)", from, to, n)
}

func count(n *int) string {
	if n == nil {
		return unknown
	}
	return fmt.Sprint(*n)
}

func orDash(text string) string {
	if text == "" {
		return unknown
	}
	return printable(text)
}
