package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"hearth/domain"
)

const (
	maxReason = 256 // bytes
	// maxOfUser is how many messages of one user are asked about at once: whoever floods the receiver makes others'
	// messages wait, or pass unasked. It is more than the rates let through that users have by default.
	maxOfUser = 64
	maxTypes  = 10_000 // groups whose type is remembered: it never changes
)

var (
	errBusy   = errors.New("too many questions are under way")
	errPaused = errors.New("not asked: it has failed several times in a row")
)

// GateConfig is how the receiver of before_send is asked.
type GateConfig struct {
	Client *Client
	// Timeout bounds what a message waits, for its turn and for the answer.
	Timeout time.Duration
	// FailOpen accepts messages that the receiver gave no good answer about; without it they are refused as unavailable.
	FailOpen bool
	// Concurrency is how many questions may be under way at once.
	Concurrency int
	// CheckBody checks a body of the receiver's as one that a client sends, and returns it compact. Its errors repeat nothing
	// of the body.
	CheckBody func(body []byte) ([]byte, error)
	// TypeOf is a group's type, "" when it is not at hand: it must not cost much, for whoever sends has not been checked yet.
	TypeOf   func(ctx context.Context, group string) domain.GroupType
	NowMS    func() int64
	Log      zerolog.Logger
	Register prometheus.Registerer
}

// Gate asks the receiver of before_send about each message; it is domain.BeforeSend.
type Gate struct {
	cfg     GateConfig
	slots   chan struct{} // one in it for each question under way
	breaker breaker
	results *prometheus.CounterVec

	mu      sync.Mutex     // guards what follows
	asking  map[string]int // questions by user
	types   map[string]domain.GroupType
	failing bool // for the log
}

var _ domain.BeforeSend = (*Gate)(nil)

// NewGate makes a gate; it asks nobody yet.
func NewGate(cfg GateConfig) *Gate {
	g := &Gate{
		cfg: cfg, slots: make(chan struct{}, cfg.Concurrency), asking: make(map[string]int), types: make(map[string]domain.GroupType),
		results: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "hearth_webhook_before_send_total",
			Help: "Messages that before_send was to be asked about, by result: allowed, changed, rejected, limited (too many of one " +
				"user's at once), or failed and paused, which the setting decides.",
		}, []string{"result"}),
	}
	cfg.Register.MustRegister(g.results)
	return g
}

// Close lets the connections to the receiver go.
func (g *Gate) Close() { g.cfg.Client.Close() }

// Judge asks about a message; see domain.BeforeSend.
func (g *Gate) Judge(ctx context.Context, d *domain.Draft) domain.Verdict {
	if d.Operator == "" {
		if !g.enter(d.From) {
			g.count("limited")
			return domain.Verdict{Refused: &domain.Error{
				Code: domain.CodeRateLimited, Message: "too many of your messages are being looked at", RetryAfter: time.Second,
			}}
		}
		defer g.leave(d.From)
	}
	verdict, err := g.ask(ctx, d)
	switch {
	case err != nil:
		return g.failed(err)
	case verdict.Refused != nil:
		g.count("rejected")
	case verdict.Body != nil:
		g.count("changed")
	default:
		g.count("allowed")
	}
	return verdict
}

func (g *Gate) count(result string) { g.results.WithLabelValues(result).Inc() }

func (g *Gate) enter(user string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.asking[user] >= maxOfUser {
		return false
	}
	g.asking[user]++
	return true
}

func (g *Gate) leave(user string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.asking[user]--; g.asking[user] == 0 {
		delete(g.asking, user)
	}
}

// failed is the verdict where there was no good answer.
func (g *Gate) failed(err error) domain.Verdict {
	if errors.Is(err, errPaused) {
		g.count("paused")
	} else {
		g.count("failed")
	}
	if g.cfg.FailOpen {
		return domain.Verdict{}
	}
	return domain.Verdict{Refused: &domain.Error{
		Code: domain.CodeUnavailable, Message: "the before_send hook does not answer, try again", RetryAfter: time.Second,
	}}
}

// ask asks once. A good answer and a bad one show that the receiver is there; only none is held against it. Otherwise
// whoever finds a message that it has no good answer to could have all others pass unasked.
func (g *Gate) ask(ctx context.Context, d *domain.Draft) (domain.Verdict, error) {
	probe, ok := g.breaker.allow(time.Now())
	if !ok {
		return domain.Verdict{}, errPaused
	}
	answer, err := g.post(ctx, d)
	if errors.Is(err, errBusy) && !probe {
		return domain.Verdict{}, err // says nothing about the receiver
	}
	if pause, mended := g.breaker.done(time.Now(), probe, err != nil); pause > 0 {
		g.cfg.Log.Warn().Err(err).Dur("pause", pause).Bool("open", g.cfg.FailOpen).Msg("before_send fails, not asked for a while")
	} else if mended {
		g.cfg.Log.Info().Msg("before_send answers again")
	}
	if err != nil {
		return domain.Verdict{}, err
	}
	verdict, err := ParseVerdict(answer, d.Body, g.cfg.CheckBody)
	g.tell(err)
	return verdict, err
}

func (g *Gate) post(ctx context.Context, d *domain.Draft) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, g.cfg.Timeout)
	defer cancel()
	select {
	case g.slots <- struct{}{}:
		defer func() { <-g.slots }()
	case <-ctx.Done():
		return nil, errBusy
	}
	return g.cfg.Client.Post(ctx, Event{
		ID: uuid.Must(uuid.NewV7()).String(), Type: BeforeSend, TimeMS: g.cfg.NowMS(), Data: dataOf(d, g.typeOf(ctx, d.Group)),
	})
}

// typeOf takes a part of the time at most: what holds it up is not the receiver's fault.
func (g *Gate) typeOf(ctx context.Context, group string) domain.GroupType {
	if _, _, direct := domain.SplitDirect(group); direct {
		return domain.Direct
	}
	g.mu.Lock()
	known := g.types[group]
	g.mu.Unlock()
	if known != "" {
		return known
	}
	ctx, cancel := context.WithTimeout(ctx, g.cfg.Timeout/5)
	defer cancel()
	found := g.cfg.TypeOf(ctx, group)
	if found != "" {
		g.mu.Lock()
		defer g.mu.Unlock()
		if len(g.types) >= maxTypes {
			clear(g.types)
		}
		g.types[group] = found
	}
	return found
}

// tell logs that answers begin to be bad, and that they are good again.
func (g *Gate) tell(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch failing := err != nil; {
	case failing && !g.failing:
		g.cfg.Log.Warn().Err(err).Bool("open", g.cfg.FailOpen).Msg("before_send gives bad answers")
	case !failing && g.failing:
		g.cfg.Log.Info().Msg("before_send gives good answers again")
	}
	g.failing = err != nil
}

// dataOf is the message as it would be sent, without what it gets when it is accepted; to names the other side of a
// direct conversation. Every value but the body is an id or a number, so nothing needs escaping.
func dataOf(d *domain.Draft, kind domain.GroupType) json.RawMessage {
	header := domain.Header{From: d.From, ClientID: d.ClientID, Mentions: d.Mentions, ReplyTo: d.ReplyTo, Operator: d.Operator}
	data := make([]byte, 0, len(d.Body)+256)
	data = append(data, `{"group":"`...)
	data = append(data, d.Group...)
	data = append(data, `",`...)
	if kind != "" {
		data = append(data, `"type":"`...)
		data = append(data, kind...)
		data = append(data, `",`...)
	}
	if peer, ok := domain.Peer(d.Group, d.From); ok {
		data = append(data, `"to":"`...)
		data = append(data, peer...)
		data = append(data, `",`...)
	}
	data = header.AppendJSON(data)
	data = append(data, `,"body":`...)
	data = append(data, d.Body...)
	return append(data, '}')
}

// ParseVerdict reads {"allow":bool,"reason"?,"body"?}; other fields are passed over, and what rejects a message does so
// however odd its reason is. sent is the body that was asked about.
func ParseVerdict(answer, sent []byte, check func([]byte) ([]byte, error)) (domain.Verdict, error) {
	var a struct {
		Allow  *bool          `json:"allow"`
		Reason jsontext.Value `json:"reason"`
		Body   jsontext.Value `json:"body"`
	}
	if err := jsonv2.Unmarshal(answer, &a); err != nil {
		return domain.Verdict{}, errors.New(`the answer is not of the form {"allow":bool,"reason":"…","body":[…]}`) // err may show what it says
	}
	switch {
	case a.Allow == nil:
		return domain.Verdict{}, errors.New("allow is missing in the answer")
	case !*a.Allow:
		return domain.Verdict{Refused: rejection(a.Reason)}, nil
	case a.Body == nil || a.Body.Kind() == 'n':
		return domain.Verdict{}, nil
	}
	body, err := check(a.Body)
	if err != nil {
		return domain.Verdict{}, err
	}
	if bytes.Equal(body, sent) {
		return domain.Verdict{}, nil
	}
	return domain.Verdict{Body: body}, nil
}

// rejection tells the sender what the app says, as far as it is fit to be shown.
func rejection(text jsontext.Value) *domain.Error {
	var reason string
	if text.Kind() == '"' {
		_ = jsonv2.Unmarshal(text, &reason) // it has been read before
	}
	reason = strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, reason))
	if len(reason) > maxReason {
		end := maxReason
		for !utf8.RuneStart(reason[end]) {
			end--
		}
		reason = reason[:end]
	}
	message := "the before_send hook rejects this message"
	if reason != "" {
		message += ": " + reason
	}
	return &domain.Error{Code: domain.CodeRejected, Message: message}
}
