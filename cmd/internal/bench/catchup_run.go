package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sync/errgroup"

	"hearth/transport/client"
)

const fillsAtOnce = 400 // sends of the client that fills the group; it puts up to 100 in a frame

// catchup is one run of Catchup.
type catchup struct {
	crowd
	*course
	cfg     CatchupConfig
	group   string
	writer  string // the user whose messages were missed
	book    *book
	pullers []*puller
	counted atomic.Int64 // measured catch-ups; only with cfg.Catchups
}

func newCatchup(cfg CatchupConfig, meter *cpuMeter) *catchup {
	c := &catchup{
		crowd: crowd{base: cfg.Base}, course: newCourse(meter, cfg.Warmup, cfg.Duration, cfg.Timeout),
		cfg: cfg, group: cfg.groupID(0), writer: cfg.userID(cfg.Clients),
	}
	c.book = newBook(c.group, c.writer, strings.Repeat("x", cfg.Bytes), &c.violations)
	members := []string{c.writer}
	for i := range cfg.Clients {
		p := &puller{socket: c.socket(cfg.userID(i), c.group), catchup: c, latency: newLatency()}
		members = append(members, p.user)
		c.pullers = append(c.pullers, p)
	}
	c.groups = []roster{{id: c.group, members: members}}
	return c
}

// run blocks until the load is over and every goroutine has ended; all connections are closed then.
func (c *catchup) run(ctx context.Context) error {
	if err := c.createGroups(ctx); err != nil {
		return err
	}
	if err := c.fill(ctx); err != nil {
		return err
	}
	if err := c.dialAll(ctx, plan{lasts: max(c.cfg.Warmup, 0) + c.cfg.Duration}); err != nil {
		return err
	}
	defer c.closeAll()
	tasks, ctx := errgroup.WithContext(ctx)
	release := context.AfterFunc(ctx, c.closeAll)
	defer release()
	if err := c.start(); err != nil {
		return err
	}
	for _, p := range c.pullers {
		tasks.Go(p.loop)
	}
	tasks.Go(func() error { return c.course.run(ctx, nil) })
	return tasks.Wait()
}

// fill sends what will be missed, with the client that everybody uses. It returns when all of it is in MySQL, so that
// none of that work is measured.
func (c *catchup) fill(ctx context.Context) error {
	writer, err := client.New(client.Config{URLs: c.base.URLs, Token: func(context.Context) (string, error) {
		return userToken(c.base.Secret, c.writer, time.Now().Add(tokenSlack))
	}})
	if err != nil {
		return &Error{Kind: Setup, Err: err}
	}
	connected, leave := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { _ = writer.Run(connected) }) // what it says, the sends say
	err = c.sendAll(ctx, writer)
	leave()
	running.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return fillError(err)
}

func (c *catchup) sendAll(ctx context.Context, writer *client.Client) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout+time.Duration(c.cfg.Missed)*time.Millisecond)
	defer cancel()
	tasks, ctx := errgroup.WithContext(ctx)
	tasks.SetLimit(fillsAtOnce)
	for i := range c.cfg.Missed {
		tasks.Go(func() error { return c.sendOne(ctx, writer, fmt.Sprintf("m%d", i)) })
	}
	return tasks.Wait()
}

// sendOne does not use Send, which would repeat what a healthy server takes at once.
func (c *catchup) sendOne(ctx context.Context, writer *client.Client, id string) error {
	var receipt client.Receipt
	err := writer.Do(ctx, "send", map[string]any{
		"group": c.group, "body": client.Text(c.book.text), "client_id": id, "ack": "durable", "timeout_ms": 10_000,
	}, &receipt)
	if err == nil {
		c.book.add(uint64(receipt.Seq), id)
	}
	return err
}

// fillError tells what the server said, or that it said nothing in time.
func fillError(err error) error {
	if err == nil {
		return nil
	}
	if refused, ok := errors.AsType[*client.Error](err); ok {
		return refusal("send", refused.Code, refused.Message)
	}
	if ended, ok := errors.AsType[*client.EndedError](err); ok {
		return &Error{Kind: Setup, Err: ended}
	}
	return errorf(Down, "filling the group: %w", err)
}

// puller is a client that catches up. After dial it belongs to the goroutine of loop.
type puller struct {
	*socket
	catchup *catchup
	asked   int // requests so far
	out     []byte

	measured int64                   // messages
	latency  *hdrhistogram.Histogram // µs, of measured catch-ups
}

// loop catches up until the load is over.
func (p *puller) loop() error {
	for {
		began := time.Now()
		over, err := p.catchUp()
		if over || err != nil {
			return err
		}
		if p.catchup.phase.Load() == measuring {
			recordLatency(p.latency, time.Since(began))
			p.catchup.count()
		}
	}
}

// count ends the load when it has done what was asked for.
func (c *catchup) count() {
	if c.cfg.Catchups > 0 && c.counted.Add(1) == c.cfg.Catchups {
		close(c.full)
	}
}

// catchUp reads all pages once, unless the load is over before.
func (p *puller) catchUp() (over bool, err error) {
	var after uint64
	for more := true; more; {
		if p.catchup.phase.Load() == stopped {
			return true, nil
		}
		page, err := p.ask(after)
		if page == nil || err != nil {
			return true, err
		}
		if p.catchup.phase.Load() == measuring {
			p.measured += int64(page.messages)
		}
		after, more = page.last, page.more
	}
	return false, nil
}

// ask reads a page; nil when the bench is being closed.
func (p *puller) ask(after uint64) (*page, error) {
	p.asked++
	p.out = p.catchup.appendRequest(p.out[:0], p.asked, after)
	_ = p.ws.SetReadDeadline(time.Now().Add(p.catchup.cfg.Timeout))
	if err := p.write(p.out); err != nil {
		return nil, err
	}
	for {
		frame, err := p.readFrame()
		if err != nil {
			return nil, p.lost(err)
		}
		for line := range lines(frame) {
			if page, err := p.receive(line, after); page != nil || err != nil {
				return page, err
			}
		}
	}
}

func (c *catchup) appendRequest(dst []byte, id int, after uint64) []byte {
	dst = fmt.Appendf(dst, `{"id":%d,"op":%q,`, id, c.cfg.Op)
	if c.cfg.Op == "sync" {
		return fmt.Appendf(dst, `"groups":{%q:%d},"limit":%d,"max_bytes":1048576}`, c.group, after, c.cfg.Page)
	}
	return fmt.Appendf(dst, `"group":%q,"after_seq":%d,"limit":%d}`, c.group, after, c.cfg.Page)
}

// receive returns the page if this line is the one that was asked for.
func (p *puller) receive(line []byte, after uint64) (*page, error) {
	if id, ok := okID(line); ok {
		if int(id) != p.asked {
			return nil, errorf(Wrong, "user %s: an answer to id %d, %d was asked", p.user, id, p.asked)
		}
		return p.catchup.book.read(p.user, after, line)
	}
	if bytes.HasPrefix(line, messageHead) {
		p.catchup.violations.add("user %s: a push of what nobody sent: %.120q", p.user, line)
		return nil, nil
	}
	compact, err := p.odd(line, p.catchup.cfg.Op)
	if err != nil || compact == nil {
		return nil, err
	}
	return p.receive(compact, after)
}
