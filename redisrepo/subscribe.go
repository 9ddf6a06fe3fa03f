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

	mu       sync.Mutex // guards what follows; held while commands are written, never while reading
	pubsub   *redis.PubSub
	channels map[string]struct{}
}

// NewSubscriber makes a subscriber of the watermarks; Run starts it.
func NewSubscriber(store *Store, handler Handler, log zerolog.Logger, reg prometheus.Registerer) *Subscriber {
	s := &Subscriber{
		store: store, handler: handler, log: log,
		reconnects: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "hearth_fanout_reconnects_total", Help: "Pub/sub connections given up, by reason.",
		}, []string{"reason"}),
		channels: make(map[string]struct{}),
	}
	for p := range int(store.cfg.Partitions) {
		s.channels[persistedChannel(p)] = struct{}{}
	}
	reg.MustRegister(s.reconnects)
	return s
}

// Subscribe asks for the channels of groups; Handler.Confirmed tells when each is there. An error of the
// connection is not told: Run subscribes everything anew.
func (s *Subscriber) Subscribe(ctx context.Context, groups []string) {
	s.change(ctx, groups, func(channel string) { s.channels[channel] = struct{}{} }, (*redis.PubSub).Subscribe)
}

// Unsubscribe gives the channels of groups up.
func (s *Subscriber) Unsubscribe(ctx context.Context, groups []string) {
	s.change(ctx, groups, func(channel string) { delete(s.channels, channel) }, (*redis.PubSub).Unsubscribe)
}

func (s *Subscriber) change(ctx context.Context, groups []string, note func(string), command func(*redis.PubSub, context.Context, ...string) error) {
	channels := make([]string, len(groups))
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, group := range groups {
		channels[i] = groupChannel(s.store.cfg.Partitions.Of(group), group)
		note(channels[i])
	}
	if s.pubsub == nil {
		return
	}
	if err := command(s.pubsub, ctx, channels...); err != nil {
		s.log.Warn().Err(err).Int("channels", len(channels)).Msg("pub/sub command failed, the receive loop reconnects")
	}
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
	s.mu.Lock()
	channels := make([]string, 0, len(s.channels))
	for channel := range s.channels {
		channels = append(channels, channel)
	}
	pubsub := s.store.rdb.Subscribe(ctx, channels...)
	s.pubsub = pubsub
	s.mu.Unlock()
	defer s.close(pubsub)
	heard := time.Now()
	for {
		message, err := pubsub.ReceiveTimeout(ctx, receiveTimeout)
		var timeout net.Error
		switch {
		case err == nil:
			heard = time.Now()
			s.handle(message)
		case ctx.Err() != nil:
			return "stopped", ctx.Err()
		case errors.As(err, &timeout) && timeout.Timeout():
			if time.Since(heard) > silenceLimit {
				return "silent", fmt.Errorf("no answer for %s", silenceLimit)
			}
			if err := pubsub.Ping(ctx); err != nil {
				return "ping", err
			}
		default:
			return "error", err
		}
	}
}

func (s *Subscriber) close(pubsub *redis.PubSub) {
	s.mu.Lock()
	s.pubsub = nil
	s.mu.Unlock()
	_ = pubsub.Close() // what is left of it is of no use
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
