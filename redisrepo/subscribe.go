package redisrepo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"hearth/domain"
)

const (
	receiveTimeout = 2 * time.Second        // silence after which the connection is asked for a sign of life
	silenceLimit   = 3 * receiveTimeout     // silence after which it is taken for dead, although nobody closed it
	reconnectDelay = 100 * time.Millisecond // between tries
)

// Handler takes what the subscriber receives. It is called from one goroutine and must not block.
type Handler interface {
	Published(p domain.Push)
	// Confirmed tells that everything published to the group from now on arrives, unless the connection breaks;
	// after a break it is told again.
	Confirmed(group string)
	// Persisted tells a watermark.
	Persisted(group string, gen, seq int64)
}

// Subscriber receives the pub/sub channels of an instance over one connection, with deadlines of its own:
// redis.PubSub.Channel hides re-subscriptions and never notices a connection that is dead but not closed.
type Subscriber struct {
	store      *Store
	handler    Handler
	log        zerolog.Logger
	reconnects *prometheus.CounterVec

	receiveTimeout, silenceLimit time.Duration // as the constants; tests have less time

	changed chan struct{} // holds one when pending is not empty

	mu       sync.Mutex // guards what follows; never held during I/O
	channels map[string]struct{}
	pending  []channelChange // what the connection has not been told yet
}

type channelChange struct {
	channel string
	wanted  bool
}

// NewSubscriber makes a subscriber of the watermarks; Run starts it.
func NewSubscriber(store *Store, handler Handler, log zerolog.Logger, reg prometheus.Registerer) *Subscriber {
	s := &Subscriber{
		store: store, handler: handler, log: log,
		receiveTimeout: receiveTimeout, silenceLimit: silenceLimit,
		reconnects: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "hearth_fanout_reconnects_total", Help: "Pub/sub connections given up, by reason.",
		}, []string{"reason"}),
		changed:  make(chan struct{}, 1),
		channels: make(map[string]struct{}),
	}
	for p := range int(store.cfg.Partitions) {
		s.channels[persistedChannel(p)] = struct{}{}
	}
	reg.MustRegister(s.reconnects)
	return s
}

// Subscribe asks for the channels of groups; Handler.Confirmed tells when each is there. It does not wait for the
// connection.
func (s *Subscriber) Subscribe(groups []string) { s.change(groups, true) }

// Unsubscribe gives the channels of groups up.
func (s *Subscriber) Unsubscribe(groups []string) { s.change(groups, false) }

func (s *Subscriber) change(groups []string, wanted bool) {
	s.mu.Lock()
	for _, group := range groups {
		channel := groupChannel(s.store.cfg.Partitions.Of(group), group)
		if wanted {
			s.channels[channel] = struct{}{}
		} else {
			delete(s.channels, channel)
		}
		s.pending = append(s.pending, channelChange{channel, wanted})
	}
	s.mu.Unlock()
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// all is every channel that is wanted; what was pending is among them.
func (s *Subscriber) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pending = nil
	channels := make([]string, 0, len(s.channels))
	for channel := range s.channels {
		channels = append(channels, channel)
	}
	return channels
}

// writeChanges tells the connection what changes, until ctx is done. An error ends the connection: the next one is
// told everything.
func (s *Subscriber) writeChanges(ctx context.Context, pubsub *redis.PubSub) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.changed:
		}
		s.mu.Lock()
		pending := s.pending
		s.pending = nil
		s.mu.Unlock()
		for len(pending) > 0 {
			run := 1
			for run < len(pending) && pending[run].wanted == pending[0].wanted {
				run++
			}
			if err := writeRun(ctx, pubsub, pending[:run]); err != nil {
				_ = pubsub.Close() // the receive loop ends with it, and says why
				return
			}
			pending = pending[run:]
		}
	}
}

// writeRun writes changes of one kind in one command.
func writeRun(ctx context.Context, pubsub *redis.PubSub, changes []channelChange) error {
	ctx, cancel := context.WithTimeout(ctx, receiveTimeout)
	defer cancel()
	channels := make([]string, len(changes))
	for i, c := range changes {
		channels[i] = c.channel
	}
	if changes[0].wanted {
		return pubsub.Subscribe(ctx, channels...)
	}
	return pubsub.Unsubscribe(ctx, channels...)
}

// Run receives until ctx is done.
func (s *Subscriber) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		reason, err := s.receive(ctx)
		if ctx.Err() != nil {
			break
		}
		s.reconnects.WithLabelValues(reason).Inc()
		s.log.Warn().Err(err).Str("reason", reason).Msg("pub/sub connection given up, connecting anew")
		waitOrDone(ctx, reconnectDelay)
	}
	return nil
}

// receive subscribes everything on a new connection and reads it until it fails.
func (s *Subscriber) receive(ctx context.Context) (reason string, err error) {
	pubsub := s.store.rdb.Subscribe(ctx)
	ctx, cancel := context.WithCancel(ctx)
	var writing sync.WaitGroup
	defer func() {
		cancel()
		_ = pubsub.Close() // what is left of it is of no use
		writing.Wait()
	}()
	if err := pubsub.Subscribe(ctx, s.all()...); err != nil {
		return "connect", err
	}
	writing.Go(func() { s.writeChanges(ctx, pubsub) })
	heard := time.Now()
	for {
		if ctx.Err() != nil { // while there is traffic, nothing else tells
			return "stopped", ctx.Err()
		}
		message, err := pubsub.ReceiveTimeout(ctx, s.receiveTimeout)
		var timeout net.Error
		switch {
		case err == nil:
			heard = time.Now()
			s.handle(message)
		case ctx.Err() != nil:
			return "stopped", ctx.Err()
		case errors.As(err, &timeout) && timeout.Timeout():
			if time.Since(heard) > s.silenceLimit {
				return "silent", fmt.Errorf("no answer for %s", s.silenceLimit)
			}
			if err := pubsub.Ping(ctx); err != nil {
				return "ping", err
			}
		default:
			return "error", err
		}
	}
}

func (s *Subscriber) handle(message any) {
	switch m := message.(type) {
	case *redis.Subscription:
		if group, ok := channelGroup(m.Channel); ok && m.Kind == "subscribe" {
			s.handler.Confirmed(group)
		}
	case *redis.Message:
		if err := s.published(m); err != nil {
			s.log.Error().Err(err).Msg("pub/sub payload not understood")
		}
	}
}

// published reads what the scripts publish: 'm <gen> <seq> <mute>\n<event>' for a message, and for watermarks
// '<gen>' followed by ' <group> <seq>' for each group.
func (s *Subscriber) published(m *redis.Message) error {
	group, ok := channelGroup(m.Channel)
	if !ok {
		return s.watermarks(m.Payload)
	}
	first, event, ok := strings.Cut(m.Payload, "\n")
	words := strings.Split(first, " ")
	if !ok || len(words) != 4 || words[0] != "m" {
		return errors.New("not a message")
	}
	p := domain.Push{Group: group, Event: []byte(event)}
	var err error
	if p.Gen, err = strconv.ParseInt(words[1], 10, 64); err != nil {
		return fmt.Errorf("generation: %w", err)
	}
	if p.Seq, err = strconv.ParseInt(words[2], 10, 64); err != nil {
		return fmt.Errorf("seq: %w", err)
	}
	if words[3] != "-" {
		p.Mute = words[3]
	}
	s.handler.Published(p)
	return nil
}

func (s *Subscriber) watermarks(payload string) error {
	words := strings.Split(payload, " ")
	gen, err := strconv.ParseInt(words[0], 10, 64)
	if err != nil {
		return fmt.Errorf("generation of watermarks: %w", err)
	}
	for i := 1; i+1 < len(words); i += 2 {
		seq, err := strconv.ParseInt(words[i+1], 10, 64)
		if err != nil {
			return fmt.Errorf("watermark: %w", err)
		}
		s.handler.Persisted(words[i], gen, seq)
	}
	return nil
}
