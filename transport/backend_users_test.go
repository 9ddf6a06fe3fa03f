package transport

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"

	"hearth/domain"
)

// people is the users' side of a backend; backend.mu guards it.
type people struct {
	hub      *Hub // gets what is told, as if pub/sub brought it
	sessions []domain.Session
	lastSeen map[string]int64
	notes    map[string][]domain.Note
	noted    int  // notes ever told
	silent   bool // wake-ups get lost
	told     []telling
	signals  []domain.Signal
	read     func()               // runs when notes were read, before they are answered; nil: nothing
	between  func(domain.Session) // runs when a session is let in, before its connection is there; nil: nothing
}

// telling is one call of a Bus.
type telling struct {
	groups []string // ToGroups
	user   string   // ToUser
	except string
	event  string
}

func newPeople() people {
	return people{notes: map[string][]domain.Note{}, lastSeen: map[string]int64{}}
}

func (b *backend) Enter(ctx context.Context, s domain.Session, policy domain.SessionPolicy) (domain.Admission, error) {
	a, err := b.letIn(ctx, s, policy)
	b.mu.Lock()
	between := b.between
	b.mu.Unlock()
	if err == nil && between != nil {
		between(s)
	}
	return a, err
}

func (b *backend) letIn(ctx context.Context, s domain.Session, policy domain.SessionPolicy) (domain.Admission, error) {
	unlock, err := b.enter(ctx, "Enter")
	defer unlock()
	if err != nil {
		return domain.Admission{}, err
	}
	a := domain.Admission{First: true}
	for _, other := range b.sessions {
		if other.User != s.User {
			continue
		}
		a.First = false
		switch {
		case policy == domain.SessionReject:
			return a, domain.Errorf(domain.CodeAlreadyOnline, "the user is connected already")
		case policy == domain.SessionReplace && other.Device == s.Device:
			b.tell(map[string]domain.Note{s.User: {Kind: domain.NoteClose, Conn: other.Conn, Code: domain.CloseReplaced, Reason: "replaced"}})
		}
	}
	if notes := b.notes[s.User]; len(notes) > 0 {
		a.LastNote = notes[len(notes)-1].ID
	}
	a.OpenedMS = 1_000_000 + int64(len(b.sessions))
	s.OpenedMS = a.OpenedMS
	b.sessions = append(b.sessions, s)
	return a, nil
}

func (b *backend) Leave(ctx context.Context, s domain.Session) (last bool, err error) {
	unlock, err := b.enter(ctx, "Leave")
	defer unlock()
	if err != nil {
		return false, err
	}
	n := len(b.sessions)
	b.sessions = slices.DeleteFunc(b.sessions, func(other domain.Session) bool { return other.Conn == s.Conn })
	last = len(b.sessions) < n && !slices.ContainsFunc(b.sessions, func(other domain.Session) bool { return other.User == s.User })
	return last, nil
}

func (b *backend) Presence(ctx context.Context, users []string) (map[string]domain.Presence, error) {
	unlock, err := b.enter(ctx, "Presence")
	defer unlock()
	found := map[string]domain.Presence{}
	for _, user := range users {
		p := domain.Presence{LastSeenMS: b.lastSeen[user]}
		for _, s := range b.sessions {
			if s.User == user {
				p.Online, p.LastSeenMS = true, 0
				if s.Device != "" && !slices.Contains(p.Devices, s.Device) {
					p.Devices = append(p.Devices, s.Device)
				}
			}
		}
		slices.Sort(p.Devices)
		found[user] = p
	}
	return found, err
}

// entered are the sessions of the moment.
func (b *backend) entered() []domain.Session {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.sessions)
}

func (b *backend) Tell(ctx context.Context, notes map[string]domain.Note) error {
	unlock, err := b.enter(ctx, "Tell")
	defer unlock()
	if err == nil {
		b.tell(notes)
	}
	return err
}

// tell adds notes and wakes who has to read them; b.mu is held.
func (b *backend) tell(notes map[string]domain.Note) {
	for user, n := range notes {
		b.seatBy(user, n)
		b.noted++
		n.ID = fmt.Sprintf("1700000000000-%d", b.noted)
		b.notes[user] = append(b.notes[user], n)
		if !b.silent {
			go b.hub.UserNotes(user)
		}
	}
}

// seatBy gives the user the place that a note tells him of, as what comes before the note does; b.mu is held.
func (b *backend) seatBy(user string, n domain.Note) {
	g := b.groups[n.Group]
	if g == nil {
		return
	}
	_, in := g.members[user]
	if n.Kind == domain.NoteJoined && !in {
		g.members[user] = domain.Member
		g.Version++
	}
	if n.Kind == domain.NoteLeft && in {
		delete(g.members, user)
		g.Version++
	}
}

// newer is a version above that of any group and above the one before.
func newer() int64 { return 1000 + versions.Add(1) }

var versions atomic.Int64

// note tells one user something.
func (b *backend) note(user string, n domain.Note) {
	b.change(func(b *backend) { b.tell(map[string]domain.Note{user: n}) })
}

func (b *backend) SessionsOf(context.Context, []string) (map[string][]domain.Session, error) {
	return nil, errDown // the connections do not ask
}

func (b *backend) Since(ctx context.Context, last map[string]string) (map[string][]domain.Note, error) {
	unlock, err := b.enter(ctx, "Since")
	found := map[string][]domain.Note{}
	for user, id := range last {
		for _, n := range b.notes[user] {
			if domain.NoteAfter(n.ID, id) {
				found[user] = append(found[user], n)
			}
		}
	}
	read := b.read
	unlock()
	if read != nil {
		read()
	}
	return found, err
}

func (b *backend) ToGroups(ctx context.Context, groups []string, except string, event []byte) error {
	unlock, err := b.enter(ctx, "ToGroups")
	defer unlock()
	b.told = append(b.told, telling{groups: groups, except: except, event: string(event)})
	for _, group := range groups {
		go b.hub.Noticed(group, domain.Notice{Except: except, Event: event})
	}
	return err
}

func (b *backend) ToUser(ctx context.Context, user, except string, event []byte) error {
	unlock, err := b.enter(ctx, "ToUser")
	defer unlock()
	b.told = append(b.told, telling{user: user, except: except, event: string(event)})
	go b.hub.UserNoticed(user, domain.Notice{Except: except, Event: event})
	return err
}

// tellings are the calls of the Bus so far.
func (b *backend) tellings() []telling {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.told)
}

func (b *backend) Signal(ctx context.Context, s domain.Signal) (domain.SignalOutcome, error) {
	unlock, err := b.enter(ctx, "Signal")
	defer unlock()
	if err != nil {
		return domain.SignalOutcome{}, err
	}
	g := b.groups[s.Group]
	if g == nil && s.Open {
		return domain.SignalOutcome{}, domain.StrangerLimit()
	}
	if g == nil {
		return domain.SignalOutcome{}, domain.Errorf(domain.CodeNotFound, "there is no such group")
	}
	if err := domain.Allow(domain.Actor{User: s.From}, domain.Send, g.Type, g.Join, g.members[s.From]); err != nil {
		return domain.SignalOutcome{}, err
	}
	b.signals = append(b.signals, s)
	event := fmt.Appendf(nil, `{"event":"signal","group":"%s","from":"%s","kind":"%s","data":%s,"time_ms":1}`, s.Group, s.From, s.Kind, s.Data)
	go b.hub.Noticed(s.Group, domain.Notice{Except: s.Except, Event: event})
	return domain.SignalOutcome{}, nil
}
