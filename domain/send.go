package domain

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// Ack is when a send is answered.
type Ack string

const (
	AckAccepted Ack = "accepted" // in Redis, with its seq
	AckDurable  Ack = "durable"  // committed in MySQL
	AckBoth     Ack = "both"     // accepted at once, durable as an event
)

// Priority decides who is refused first when a group is over its rate.
type Priority string

const (
	PriorityHigh   Priority = "high"
	PriorityNormal Priority = "normal"
	PriorityLow    Priority = "low" // gets none of the last 20 % of the group's rate
)

const (
	MaxMentions       = 50
	MentionAll        = "*"
	DefaultAckTimeout = 3 * time.Second
	MaxAckTimeout     = 10 * time.Second
)

// Draft is a send before it has a seq. Body is valid and compact: the decoder at the door saw to that.
type Draft struct {
	Group    string
	From     string
	Operator string // key id of the app server that sends; "" for users
	Body     []byte
	ClientID string // idempotency key of the sender; "" for none
	Mentions []string
	ReplyTo  int64
	Priority Priority // "" is normal
	Ack      Ack      // "" is accepted
	// Timeout bounds the wait of AckDurable. 0: DefaultAckTimeout.
	Timeout time.Duration
	Conn    string // id of the connection that it came by, whose sends to a group keep their order; "" for none
	Mute    string // id of the connection that gets no push of this message; "" for none
	Open    bool   // the sender named a user, not a group: the direct conversation is opened on first use
}

// Append is a checked Draft as the append script takes it.
type Append struct {
	Draft
	Header []byte // Header.AppendJSON
	Hash   string // of the content as it was sent: 32 hex digits, or with the mark of a body that was replaced
	Dedupe string // id of the send for repeats: of the sender's making, or internal
	// Refused is why the content may not be stored; nil if it may. Only the repeat of a send that was stored is answered
	// otherwise.
	Refused *Error
	// Judged tells that Body is what the word list or a hook made of it: had the send been stored before, another body may
	// have been.
	Judged bool
}

// Accepted is a message that has its seq.
type Accepted struct {
	Group        string
	Gen          int64
	Seq          int64
	TimeMS       int64
	Duplicate    bool
	PersistedSeq int64
}

// Appender accepts messages: Redis, atomically.
type Appender interface {
	// Append queues a send; sends to one group are accepted in the order of the calls. done is called once,
	// perhaps before Append returns, and must not block.
	Append(a Append, done func(Accepted, error))
}

// Receipt is the answer to a send.
type Receipt struct {
	Accepted
	Durable    bool
	PeerOnline *bool // in direct conversations: whether the other side is there
}

// Peers tells who is there.
type Peers interface {
	PeerOnline(ctx context.Context, user string) bool
}

// Moderator is the word list: what users may not write. Error code rejected.
type Moderator interface {
	// Body is a message's body as it may be stored: as it is, or with words masked, then a copy.
	Body(body []byte) ([]byte, error)
	// Name refuses a name with a word of the list: a name is not masked behind its maker's back.
	Name(field, name string) error
}

// Sends is the path of a message up to its acceptance.
type Sends struct {
	appender   Appender
	moderator  Moderator // nil: none
	watermarks *Watermarks
	peers      Peers
	asking     *asking // nil: nobody is asked
	internal   string  // prefix of internal idempotency keys, unique to this instance's life
	count      atomic.Uint64
}

// NewSends makes the use case; watermarks tell it when rows are committed.
func NewSends(appender Appender, watermarks *Watermarks, peers Peers) *Sends {
	var unique [8]byte
	_, _ = rand.Read(unique[:]) // crypto/rand never fails since Go 1.24
	return &Sends{appender: appender, watermarks: watermarks, peers: peers, internal: "i" + hex.EncodeToString(unique[:]) + "-"}
}

// UseModerator sets the word list; before the first send.
func (s *Sends) UseModerator(m Moderator) { s.moderator = m }

// Send checks the draft and queues it. reply is called once, perhaps before Send returns, perhaps from another
// goroutine; it must not block. With AckBoth, durable is called behind reply when the row is committed, unless that is
// never learned.
func (s *Sends) Send(d Draft, reply func(Receipt, error), durable func(Accepted)) {
	if err := d.check(); err != nil {
		reply(Receipt{}, err)
		return
	}
	send := s.prepare(d)
	if err := s.moderate(&send); err != nil {
		reply(Receipt{}, err)
		return
	}
	if s.asking != nil && send.Refused == nil {
		s.ask(send, reply, durable)
		return
	}
	s.queue(send, reply, durable)
}

// queue hands a send to the appender and sees to its answer.
func (s *Sends) queue(send Append, reply func(Receipt, error), durable func(Accepted)) {
	d := &send.Draft
	tell := func(r Receipt, then func()) {
		reply(r, nil)
		then()
	}
	if peer, ok := Peer(d.Group, d.From); ok {
		tell = s.withPeer(peer, tell)
	}
	s.appender.Append(send, func(a Accepted, err error) {
		if err != nil {
			reply(Receipt{}, err)
			return
		}
		s.accepted(d, a, reply, tell, durable)
	})
}

// accepted answers when the sender wants it answered. tell replies and does what is to come behind the reply; reply is
// for what went wrong.
func (s *Sends) accepted(d *Draft, a Accepted, reply func(Receipt, error), tell func(r Receipt, then func()), durable func(Accepted)) {
	nothing := func() {}
	switch {
	case a.PersistedSeq >= a.Seq && d.Ack == AckBoth:
		tell(Receipt{Accepted: a, Durable: true}, func() { durable(a) })
	case a.PersistedSeq >= a.Seq:
		tell(Receipt{Accepted: a, Durable: true}, nothing)
	case d.Ack == AckDurable:
		s.watermarks.Wait(a, d.timeout(), func(committed bool, err error) {
			if err != nil {
				reply(Receipt{}, err)
				return
			}
			if committed {
				a.PersistedSeq = max(a.PersistedSeq, a.Seq)
			}
			tell(Receipt{Accepted: a, Durable: committed}, nothing)
		})
	case d.Ack == AckBoth:
		tell(Receipt{Accepted: a}, func() {
			s.watermarks.Wait(a, bothTimeout, func(committed bool, _ error) {
				if committed {
					durable(a)
				}
			})
		})
	default:
		tell(Receipt{Accepted: a}, nothing)
	}
}

// withPeer puts into a receipt whether the other side is there, which is asked while the send is under way. What comes
// behind the reply waits for that, too.
func (s *Sends) withPeer(peer string, tell func(r Receipt, then func())) func(r Receipt, then func()) {
	online := make(chan bool, 1) // nobody takes it when the send is refused
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), peerTimeout)
		defer cancel()
		online <- s.peers.PeerOnline(ctx, peer)
	}()
	return func(r Receipt, then func()) {
		go func() {
			there := <-online
			r.PeerOnline = &there
			tell(r, then)
		}()
	}
}

// peerTimeout bounds how long a reply waits to tell whether the other side is there. A Redis that is well says so before
// the send is accepted; one that is not must not hold a reply for long that promises to come at once.
const peerTimeout = 300 * time.Millisecond

// bothTimeout is how long a durable event is waited for: MySQL may be away for a while.
const bothTimeout = 10 * time.Minute

func (d *Draft) timeout() time.Duration {
	if d.Timeout == 0 {
		return DefaultAckTimeout
	}
	return d.Timeout
}

func (d *Draft) check() error {
	if err := checkTarget(d.Group, d.Open); err != nil {
		return err
	}
	if d.ClientID != "" {
		if err := CheckID("client_id", d.ClientID); err != nil {
			return err
		}
	}
	if err := checkMentions(d.Mentions); err != nil {
		return err
	}
	if d.ReplyTo < 0 || d.ReplyTo >= 1<<53 {
		return BadField("reply_to", "must be the seq of a message")
	}
	switch d.Priority {
	case "", PriorityHigh, PriorityNormal, PriorityLow:
	default:
		return BadField("priority", "must be high, normal or low")
	}
	return d.checkAck()
}

// checkTarget refuses what names no group; open tells that a user was named instead.
func checkTarget(group string, open bool) error {
	if !open {
		return CheckGroup("group", group)
	}
	if _, _, ok := SplitDirect(group); !ok {
		return BadField("to", "must be another user")
	}
	return nil
}

// StrangerLimit refuses what a direct conversation does not carry before the other side has written.
func StrangerLimit() *Error {
	return Errorf(CodeStrangerLimit, "wait until the other side has written")
}

func (d *Draft) checkAck() error {
	switch d.Ack {
	case "", AckAccepted, AckDurable, AckBoth:
	default:
		return BadField("ack", "must be accepted, durable or both")
	}
	if d.Timeout != 0 && d.Ack != AckDurable {
		return BadField("timeout_ms", `goes with "ack":"durable" only`)
	}
	if d.Timeout < 0 || d.Timeout > MaxAckTimeout {
		return BadField("timeout_ms", "must be from 1 to %d", MaxAckTimeout.Milliseconds())
	}
	return nil
}

func checkMentions(mentions []string) error {
	if len(mentions) > MaxMentions {
		return TooLarge("mentions", "at most %d users", MaxMentions)
	}
	if len(mentions) == 1 && mentions[0] == MentionAll {
		return nil
	}
	for i, user := range mentions {
		if err := CheckID(fmt.Sprintf("mentions[%d]", i), user); err != nil {
			return err
		}
	}
	return nil
}

func (s *Sends) prepare(d Draft) Append {
	header := Header{From: d.From, ClientID: d.ClientID, Mentions: d.Mentions, ReplyTo: d.ReplyTo, Operator: d.Operator}
	a := Append{
		Draft:  d,
		Header: header.AppendJSON(make([]byte, 0, 96)),
		Hash:   ContentHash(d.Body, d.Mentions, d.ReplyTo),
	}
	if d.ClientID != "" {
		a.Dedupe = DedupeID(d.Group, d.From, d.ClientID)
	} else {
		a.Dedupe = fmt.Sprint(s.internal, s.count.Add(1))
	}
	return a
}

// moderate asks the word list. The hash stays that of what was sent: repeats are told by it, whatever the list makes of them.
// App servers are trusted. What is refused and may be a repeat goes on nevertheless: the first one may have been stored before
// the list had that word, and a refusal means that nothing was.
func (s *Sends) moderate(a *Append) error {
	if s.moderator == nil || a.Operator != "" {
		return nil
	}
	a.Judged = true
	body, err := s.moderator.Body(a.Body)
	if a.ClientID != "" && CodeOf(err) == CodeRejected && errors.As(err, &a.Refused) {
		return nil
	}
	if err == nil {
		a.replace(body)
	}
	return err
}

// replace puts another body in place of the one that was sent, if it is another; the hash stays that of the one that was.
func (a *Append) replace(body []byte) {
	if bytes.Equal(body, a.Body) {
		return
	}
	a.Body = body
	if !isReplaced(a.Hash) {
		a.Hash = markReplaced(a.Hash)
	}
}

// ContentHash identifies what a repeated send must not change: compact body, mentions and reply_to. It is the
// first half of a SHA-256, in hex. Where the body was replaced it is that of the body as it was sent, and marked.
func ContentHash(body []byte, mentions []string, replyTo int64) string {
	buf := make([]byte, 0, len(body)+64)
	buf = binary.AppendVarint(buf, replyTo)
	buf = binary.AppendUvarint(buf, uint64(len(mentions)))
	for _, user := range mentions {
		buf = appendWithLength(buf, user)
	}
	buf = append(buf, body...)
	sum := sha256.Sum256(buf)
	return hex.EncodeToString(sum[:16])
}

// DedupeID is the idempotency key of a send with a client_id: a hash over (group, sender, client_id) with their
// lengths, so that no two triples read the same.
func DedupeID(group, from, clientID string) string {
	buf := make([]byte, 0, 192)
	for _, s := range [...]string{group, from, clientID} {
		buf = appendWithLength(buf, s)
	}
	sum := sha256.Sum256(buf)
	return "c" + hex.EncodeToString(sum[:16])
}

func appendWithLength(buf []byte, s string) []byte {
	buf = binary.AppendUvarint(buf, uint64(len(s)))
	return append(buf, s...)
}
