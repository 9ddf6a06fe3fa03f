package redisrepo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"hearth/domain"
)

const (
	silenceLimit   = 5 * time.Second        // without a word for so long, a connection is dead, although nobody closed it
	receiveTimeout = time.Second            // of one wait for a word
	reconnectDelay = 100 * time.Millisecond // between tries
)

// Handler takes what the subscriber receives. It is called from one goroutine and must not block.
type Handler interface {
	Published(p domain.Push)
	// Noticed tells an event to the subscribers of a group.
	Noticed(group string, n domain.Notice)
	// Confirmed tells that everything published to the group from now on arrives, unless the connection breaks;
	// after a break it is told again.
	Confirmed(group string)
	// UserNoticed tells an event to the connections of a user.
	UserNoticed(user string, n domain.Notice)
	// UserNotes tells that there may be notes for a user: new ones were announced, or his channel is there (again).
	UserNotes(user string)
	// Refused tells that there is no row of a message, ahead of the watermark that passes it.
	Refused(group string, gen, seq int64)
	// Persisted tells a watermark.
	Persisted(group string, gen, seq int64)
}

// Subscriber receives the pub/sub channels of an instance over one connection, with deadlines of its own:
// redis.PubSub.Channel hides re-subscriptions and never notices a connection that is dead but not closed. A canary
// goes the way of the messages all the time: commands may work while pub/sub does not.
type Subscriber struct {
	store      *Store
	handler    Handler
	log        zerolog.Logger
	reconnects *prometheus.CounterVec

	canary     string       // the instance's own channel
	lastCanary atomic.Int64 // Unix ns of the last one that came back; at first: the start
	flowing    atomic.Bool  // a canary has come back over the connection at hand

	doubted func() // called when the generations may have changed

	canaryInterval, canaryGrace, silenceLimit time.Duration // as the constants; tests have less time

	changed chan struct{} // holds one when pending is not empty

	mu       sync.Mutex // guards what follows; never held during I/O
	channels map[string]struct{}
	pending  []channelChange // what the connection has not been told yet
}

type channelChange struct {
	channel string
	wanted  bool
}

// NewSubscriber makes a subscriber of the watermarks; Run starts it. instance names the canary's channel.
func NewSubscriber(store *Store, handler Handler, instance string, log zerolog.Logger, reg prometheus.Registerer) *Subscriber {
	s := &Subscriber{
		store: store, handler: handler, log: log, canary: canaryChannel(instance),
		canaryInterval: canaryInterval, canaryGrace: canaryGrace, silenceLimit: silenceLimit,
		reconnects: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "hearth_fanout_reconnects_total", Help: "Pub/sub connections given up, by reason.",
		}, []string{"reason"}),
		doubted:  func() {},
		changed:  make(chan struct{}, 1),
		channels: make(map[string]struct{}),
	}
	for p := range int(store.cfg.Partitions) {
		s.channels[persistedChannel(p)] = struct{}{}
	}
	s.channels[s.canary] = struct{}{}
	s.lastCanary.Store(time.Now().UnixNano())
	age := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "hearth_fanout_canary_age_seconds", Help: "Since the last message to itself came back through pub/sub.",
	}, func() float64 { return s.canaryAge().Seconds() })
	reg.MustRegister(s.reconnects, age)
	return s
}

// OnDoubt has f called when a generation begins or the connection is new: the server may be another one, too. It must
// not block. To be called before Run.
func (s *Subscriber) OnDoubt(f func()) { s.doubted = f }

// Subscribe asks for the channels of groups; Handler.Confirmed tells when each is there. It does not wait for the
// connection.
func (s *Subscriber) Subscribe(groups []string) { s.change(s.groupChannels(groups), true) }

// Unsubscribe gives the channels of groups up.
func (s *Subscriber) Unsubscribe(groups []string) { s.change(s.groupChannels(groups), false) }

// SubscribeUser asks for the channel of a user; Handler.UserNotes tells when it is there.
func (s *Subscriber) SubscribeUser(user string) { s.change(s.userChannels(user), true) }

// UnsubscribeUser gives the channel of a user up.
func (s *Subscriber) UnsubscribeUser(user string) { s.change(s.userChannels(user), false) }

func (s *Subscriber) groupChannels(groups []string) []string {
	channels := make([]string, len(groups))
	for i, group := range groups {
		channels[i] = groupChannel(s.store.cfg.Partitions.Of(group), group)
	}
	return channels
}

func (s *Subscriber) userChannels(user string) []string {
	return []string{userChannel(s.store.cfg.Partitions.Of(user), user)}
}

func (s *Subscriber) change(channels []string, wanted bool) {
	s.mu.Lock()
	for _, channel := range channels {
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
	ctx, cancel := context.WithCancel(ctx)
	var canaries sync.WaitGroup
	defer canaries.Wait()
	defer cancel()
	canaries.Go(func() { s.sendCanaries(ctx) })
	for ctx.Err() == nil {
		reason, err := s.receive(ctx)
		s.flowing.Store(false)
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
	writing.Go(func() { s.sendCanary(ctx) }) // the first word on this connection
	s.doubted()
	heard := time.Now()
	for {
		if ctx.Err() != nil { // while there is traffic, nothing else tells
			return "stopped", ctx.Err()
		}
		message, err := pubsub.ReceiveTimeout(ctx, min(receiveTimeout, s.silenceLimit))
		var timeout net.Error
		switch {
		case err == nil:
			heard = time.Now()
			s.handle(message)
		case ctx.Err() != nil:
			return "stopped", ctx.Err()
		case errors.As(err, &timeout) && timeout.Timeout():
			if time.Since(heard) > s.silenceLimit {
				return "silent", fmt.Errorf("not even a canary for %s", s.silenceLimit)
			}
		default:
			return "error", err
		}
	}
}

func (s *Subscriber) handle(message any) {
	switch m := message.(type) {
	case *redis.Subscription:
		if m.Kind == "subscribe" {
			s.confirmed(m.Channel)
		}
	case *redis.Message:
		if err := s.received(m.Channel, m.Payload); err != nil {
			s.log.Error().Err(err).Msg("pub/sub payload not understood")
		}
	}
}

func (s *Subscriber) confirmed(channel string) {
	if group, ok := channelGroup(channel); ok {
		s.handler.Confirmed(group)
	} else if user, ok := channelUser(channel); ok {
		s.handler.UserNotes(user)
	}
}

func (s *Subscriber) received(channel, payload string) error {
	if channel == s.canary {
		s.lastCanary.Store(time.Now().UnixNano())
		s.flowing.Store(true)
		return nil
	}
	if group, ok := channelGroup(channel); ok {
		return s.toGroup(group, payload)
	}
	if user, ok := channelUser(channel); ok {
		return s.toUser(user, payload)
	}
	return s.watermarks(payload)
}
