package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"hearth/domain"
	"hearth/transport/client"
)

const (
	defaultChatURL = "http://127.0.0.1:8080"
	chatTimeout    = 30 * time.Second // of send and of each page of pull
)

// ChatFlags are those of the commands that talk as a user.
type ChatFlags struct {
	URL   string `name:"url" placeholder:"URL" help:"Base URL of an instance, or HEARTH_URL. Default: http://127.0.0.1:8080."`
	Token string `placeholder:"TOKEN" help:"The user's token, or HEARTH_TOKEN; hearth token new makes one."`
	JSON  bool   `name:"json" help:"Print JSON, an object a line."`
}

// fill takes from the environment what was not given.
func (f *ChatFlags) fill(p *Process) error {
	if f.URL == "" {
		f.URL = p.variable("HEARTH_URL", defaultChatURL)
	}
	if f.Token == "" {
		f.Token = p.variable("HEARTH_TOKEN", "")
	}
	u, err := url.Parse(f.URL)
	if err != nil || u.Host == "" || !slices.Contains([]string{"http", "https", "ws", "wss"}, u.Scheme) {
		return usageError{errors.New("--url must be like " + defaultChatURL)}
	}
	if f.Token == "" {
		return usageError{errors.New("--token or HEARTH_TOKEN is required; hearth token new -u USER makes one")}
	}
	return nil
}

// variable is an environment variable, or the default when it is missing or empty.
func (p *Process) variable(name, otherwise string) string {
	for _, v := range slices.Backward(p.Environ) { // the last one wins, as in os/exec
		if value, ok := strings.CutPrefix(v, name+"="); ok && value != "" {
			return value
		}
	}
	return otherwise
}

// talk connects for the time of use, whose ctx ends with the connection that is not to come back, and when there was
// none to begin with.
func (f *ChatFlags) talk(ctx context.Context, cfg client.Config, use func(ctx context.Context, c *client.Client) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	connected, note := false, cfg.OnState
	cfg.URLs = []string{f.URL}
	cfg.Token = func(context.Context) (string, error) { return f.Token, nil }
	cfg.OnState = func(s client.State) {
		if connected = connected || s.Connected; !connected {
			cancel(whyNot(s))
		} else if note != nil {
			note(s)
		}
	}
	c, err := client.New(cfg)
	if err != nil {
		return err
	}
	var running sync.WaitGroup
	running.Go(func() { cancel(c.Run(ctx)) })
	err = use(ctx, c)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	cancel(nil)
	running.Wait()
	return err
}

// whyNot is why there is no connection.
func whyNot(s client.State) error {
	switch s.Code {
	case 0:
		return fmt.Errorf("%s is not reachable: %s", s.URL, s.Reason)
	case http.StatusUnauthorized:
		return fmt.Errorf("the token is not accepted: %s", s.Reason)
	case http.StatusForbidden, http.StatusConflict:
		return fmt.Errorf("not let in: %s", s.Reason)
	}
	return fmt.Errorf("%s refused the connection: %d %s", s.URL, s.Code, s.Reason)
}

// inWords tells what went wrong with a group, or a user.
func inWords(err error, group string) error {
	var refused *client.Error
	var ended *client.EndedError
	switch {
	case errors.As(err, &ended):
		return fmt.Errorf("sent away by the server: %s (%d)", ended.Reason, ended.Code)
	case errors.Is(err, context.Canceled):
		return errors.New("interrupted")
	case errors.As(err, &refused):
		return errors.New(refusal(domain.Code(refused.Code), refused.Message, group))
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no answer within %s", chatTimeout)
	}
	return err
}

func refusal(code domain.Code, message, group string) string {
	switch code {
	case domain.CodeNotFound:
		return "there is no " + group
	case domain.CodeNotMember:
		return "you are not a member of " + group
	case domain.CodeGone:
		return group + " was dismissed"
	}
	return fmt.Sprintf("%s: %s (%s)", group, message, code)
}

// SendCmd is `hearth send`.
type SendCmd struct {
	ChatFlags
	To    string   `placeholder:"USER" help:"Send to this user directly; then there is no GROUP."`
	Words []string `arg:"" name:"group-and-text" help:"GROUP TEXT, or with --to just TEXT. Several words make one text."`
}

// Run sends a text, and prints the group and the message's seq.
func (c *SendCmd) Run(ctx context.Context, p *Process) error {
	group, words := "", c.Words
	if c.To == "" {
		group, words = words[0], words[1:]
	}
	if len(words) == 0 {
		return usageError{errors.New("expected GROUP TEXT")}
	}
	if err := c.fill(p); err != nil {
		return err
	}
	draft := client.Draft{Group: group, To: c.To, Body: client.Text(strings.Join(words, " "))}
	var receipt client.Receipt
	err := c.talk(ctx, client.Config{}, func(ctx context.Context, talking *client.Client) (err error) {
		ctx, cancel := context.WithTimeout(ctx, chatTimeout)
		defer cancel()
		receipt, err = talking.Send(ctx, draft)
		return err
	})
	if err != nil {
		return inWords(err, group+c.To)
	}
	out := printer{p: p, json: c.JSON}
	out.object(receipt, fmt.Sprintf("%s %d", receipt.Group, receipt.Seq))
	return nil
}

// TailCmd is `hearth tail`.
type TailCmd struct {
	ChatFlags
	After int64  `default:"-1" placeholder:"SEQ" help:"Start behind this seq; 0 is the beginning. Default: with what comes from now on."`
	Group string `arg:"" help:"The group or room."`
}

// Run prints a line for each message until the first signal.
func (c *TailCmd) Run(ctx context.Context, p *Process) error {
	if err := c.fill(p); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	out := printer{p: p, json: c.JSON}
	cfg := client.Config{
		OnMessage:    out.message,
		OnHole:       out.hole,
		OnGroupError: func(_ string, err error) { cancel(err) },
		OnState:      out.state,
	}
	err := c.talk(ctx, cfg, func(ctx context.Context, talking *client.Client) error {
		talking.Follow(c.Group, c.After)
		<-ctx.Done()
		return ctx.Err()
	})
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return inWords(err, c.Group)
}

// PullCmd is `hearth pull`.
type PullCmd struct {
	ChatFlags
	After *int64 `placeholder:"SEQ" help:"Messages behind this seq; 0 is the beginning. Default: the newest ones."`
	Limit int    `default:"50" help:"How many at most (${default})."`
	Group string `arg:"" help:"The group or room."`
}

// Run prints a line for each message, and tells where to go on.
func (c *PullCmd) Run(ctx context.Context, p *Process) error {
	if c.Limit < 1 {
		return usageError{errors.New("--limit must be at least 1")}
	}
	if err := c.fill(p); err != nil {
		return err
	}
	out := printer{p: p, json: c.JSON}
	err := c.talk(ctx, client.Config{}, func(ctx context.Context, talking *client.Client) error {
		return c.pull(ctx, talking, &out)
	})
	if err != nil {
		return inWords(err, c.Group)
	}
	return nil
}

func (c *PullCmd) pull(ctx context.Context, talking *client.Client, out *printer) error {
	query := client.PullQuery{Group: c.Group, AfterSeq: c.After}
	for left := c.Limit; ; {
		query.Limit = min(left, domain.MaxPage)
		page, err := pullPage(ctx, talking, query)
		if err != nil {
			return err
		}
		out.page(page)
		left -= len(page.Messages)
		if query.AfterSeq == nil || !page.More || len(page.Messages) == 0 {
			return nil
		}
		last := page.Messages[len(page.Messages)-1].Seq
		if left <= 0 {
			out.note("There is more: --after %d", last)
			return nil
		}
		query.AfterSeq = &last
	}
}

func pullPage(ctx context.Context, talking *client.Client, q client.PullQuery) (client.Page, error) {
	ctx, cancel := context.WithTimeout(ctx, chatTimeout)
	defer cancel()
	return talking.Pull(ctx, q)
}

// printer writes messages to standard output, and what is to be said about them to standard error.
type printer struct {
	p    *Process
	json bool

	mu   sync.Mutex // guards what follows, and is held while writing
	away bool       // the connection is lost
}

// object prints a line: the text, or v as JSON.
func (out *printer) object(v any, text string) {
	out.mu.Lock()
	defer out.mu.Unlock()
	if !out.json {
		fmt.Fprintln(out.p.Stdout, text)
		return
	}
	var line bytes.Buffer
	encoder := json.NewEncoder(&line)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		fmt.Fprintf(out.p.Stderr, "not printed: %s\n", err)
		return
	}
	fmt.Fprint(out.p.Stdout, line.String())
}

func (out *printer) note(format string, args ...any) {
	out.mu.Lock()
	defer out.mu.Unlock()
	fmt.Fprintf(out.p.Stderr, format+"\n", args...)
}

func (out *printer) message(m client.Message) {
	text := m.Text()
	switch {
	case m.RecalledMS > 0:
		text = "(recalled)"
	case text == "":
		text = string(m.Body)
	}
	at := time.UnixMilli(m.TimeMS).Format(time.DateTime)
	out.object(m, fmt.Sprintf("%d %s %s: %s", m.Seq, at, m.From, printable(text)))
}

// printable keeps strangers' messages from moving the cursor, or worse.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\t':
			return ' '
		case !unicode.IsPrint(r):
			return unicode.ReplacementChar
		}
		return r
	}, text)
}

func (out *printer) hole(_ string, h client.Hole) {
	seqs, reason := fmt.Sprint(h.From), h.Reason
	if h.To > h.From {
		seqs += fmt.Sprintf(" to %d", h.To)
	}
	if reason == "" {
		reason = "lost"
	}
	out.note("There is no message %s: %s.", seqs, reason)
}

// page prints the holes in their places among the messages.
func (out *printer) page(p client.Page) {
	holes := p.Holes
	holesBefore := func(seq int64) {
		for ; len(holes) > 0 && holes[0].From < seq; holes = holes[1:] {
			out.hole(p.Group, holes[0])
		}
	}
	for _, m := range p.Messages {
		holesBefore(m.Seq)
		out.message(m)
	}
	holesBefore(math.MaxInt64)
}

func (out *printer) state(s client.State) {
	out.mu.Lock()
	back := s.Connected && out.away
	out.away = !s.Connected
	out.mu.Unlock()
	switch {
	case back:
		out.note("Connected again.")
	case !s.Connected && s.Delay > 0:
		out.note("The connection is lost (%s), next attempt in %s.", reasonOf(s), s.Delay.Round(time.Millisecond))
	}
}

func reasonOf(s client.State) string {
	if s.Code == 0 {
		return s.Reason
	}
	return fmt.Sprintf("%d %s", s.Code, s.Reason)
}
