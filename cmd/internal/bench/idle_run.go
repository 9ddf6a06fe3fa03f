package bench

import (
	"bytes"
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	idleReadBuffer  = 256
	idleWriteBuffer = 256
)

// dormitory is one run of Idle: a goroutine a connection that waits for what should not come.
type dormitory struct {
	crowd
	cfg      IdleConfig
	meter    memoryMeter
	sleepers []*sleeper

	before, after map[string]int64 // KiB by process
	connecting    time.Duration
	pings         atomic.Int64
	pinged        int64 // pings when the memory was read
}

func newDormitory(cfg IdleConfig, meter memoryMeter) *dormitory {
	d := &dormitory{crowd: crowd{base: cfg.Base}, cfg: cfg, meter: meter}
	d.groups = make([]roster, (cfg.Connections+cfg.GroupSize-1)/cfg.GroupSize)
	for i := range d.groups {
		d.groups[i].id = cfg.groupID(i)
	}
	for i := range cfg.Connections {
		g := &d.groups[i%len(d.groups)]
		s := &sleeper{socket: d.socket(cfg.userID(i), g.id), dormitory: d}
		g.members = append(g.members, s.user)
		d.sleepers = append(d.sleepers, s)
	}
	return d
}

// run blocks until all is measured and every goroutine has ended; all connections are closed then.
func (d *dormitory) run(ctx context.Context) error {
	if err := d.createGroups(ctx); err != nil {
		return err
	}
	before, err := d.meter.read()
	if err != nil {
		return &Error{Kind: Down, Err: err}
	}
	d.before = before
	tasks, ctx := errgroup.WithContext(ctx)
	release := context.AfterFunc(ctx, d.closeAll)
	defer release()
	tasks.Go(func() error {
		defer d.closeAll()
		return d.hold(ctx, tasks)
	})
	return tasks.Wait()
}

// hold lets everybody in, waits, and measures.
func (d *dormitory) hold(ctx context.Context, tasks *errgroup.Group) error {
	began := time.Now()
	err := d.dialAll(ctx, plan{
		readBuffer: idleReadBuffer, writeBuffer: idleWriteBuffer, pool: &sync.Pool{}, lasts: d.cfg.Hold,
		entered: func(i int) { tasks.Go(d.sleepers[i].sleep) }, // at once: it has to answer pings
	})
	if err != nil {
		return err
	}
	d.connecting = time.Since(began)
	d.pings.Store(0)
	if err := pause(ctx, d.cfg.Hold); err != nil {
		return err
	}
	d.pinged = d.pings.Load()
	if d.after, err = d.meter.read(); err != nil {
		return &Error{Kind: Down, Err: err}
	}
	return d.wake(ctx)
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// wake says one thing in every group, and sees that all have heard it once.
func (d *dormitory) wake(ctx context.Context) error {
	d.checkHeard(0, "while nobody said anything")
	client := d.client()
	defer client.CloseIdleConnections()
	err := d.each(ctx, len(d.groups), createsAtOnce, func(ctx context.Context, i int) error { return d.say(ctx, client, i) })
	if err != nil {
		return err
	}
	if _, err := settle(ctx, d.cfg.Settle, d.allHeard); err != nil {
		return err
	}
	d.checkHeard(1, "when one thing was said")
	return nil
}

func (d *dormitory) say(ctx context.Context, client *http.Client, group int) error {
	body := map[string]any{"from": d.sleepers[group].user, "body": []map[string]string{{"type": "text", "text": "wake up"}}}
	return d.post(ctx, client, d.url(group)+"/v1/groups/"+d.groups[group].id+"/messages", body)
}

func (d *dormitory) allHeard() bool {
	for _, s := range d.sleepers {
		if s.heard.Load() == 0 {
			return false
		}
	}
	return true
}

func (d *dormitory) checkHeard(want int32, when string) {
	for _, s := range d.sleepers {
		if heard := s.heard.Load(); heard != want {
			d.violations.add("user %s: %d messages pushed %s", s.user, heard, when)
		}
	}
}

func (d *dormitory) report() *IdleReport {
	return &IdleReport{
		Connections: d.cfg.Connections, Groups: len(d.groups), Prefix: d.cfg.Prefix,
		ConnectSeconds: d.connecting.Seconds(), HoldSeconds: d.cfg.Hold.Seconds(), Pings: d.pinged,
		Memory: memoryEach(d.before, d.after, d.cfg.Connections),
	}
}

// sleeper is a connection that does nothing.
type sleeper struct {
	*socket
	dormitory *dormitory
	heard     atomic.Int32 // messages
}

// sleep reads until the connection is closed.
func (s *sleeper) sleep() error {
	s.in = nil // of the welcome; what comes now is short, or the end
	pong := s.ws.PingHandler()
	s.ws.SetPingHandler(func(data string) error {
		s.dormitory.pings.Add(1)
		return pong(data)
	})
	for {
		frame, err := s.readFrame()
		if err != nil {
			return s.lost(err)
		}
		for line := range lines(frame) {
			if err := s.receive(line); err != nil {
				return err
			}
		}
	}
}

func (s *sleeper) receive(line []byte) error {
	if bytes.HasPrefix(line, messageHead) {
		if !bytes.Contains(line, []byte(`"group":"`+s.home+`"`)) {
			s.dormitory.violations.add("user %s: a push of another group: %.120q", s.user, line)
		}
		s.heard.Add(1)
		return nil
	}
	compact, err := s.odd(line, "nothing")
	if err != nil || compact == nil {
		return err
	}
	return s.receive(compact)
}
