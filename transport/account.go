package transport

import (
	"context"
	"slices"

	"hearth/domain"
)

const notesChunk = 1000 // users whose notes are read in one round trip

// account is a user with connections here. What is told to all of his connections lies in notes, which are read when
// his channel says so, and every few seconds in case it has said so in vain.
type account struct {
	// Guarded by Hub.mu.
	user    string
	conns   map[*Conn]struct{}
	noted   string // id of the last note that was handed out
	reading bool
	again   bool // notes were announced while they were read
}

// signIn puts a connection among its user's; h.mu is held.
func (h *Hub) signIn(c *Conn) {
	a := h.accounts[c.claims.User]
	if a == nil {
		a = &account{user: c.claims.User, conns: make(map[*Conn]struct{}), noted: c.admission.LastNote}
		h.accounts[a.user] = a
		h.channels.SubscribeUser(a.user)
	}
	a.conns[c] = struct{}{}
	if upTo := a.noted; domain.NoteAfter(upTo, c.admission.LastNote) { // it was let in before, and comes only now
		c.start(task{own: func(ctx context.Context) { c.readMissed(ctx, upTo) }})
	}
	h.metrics.users.Set(float64(len(h.accounts)))
}

// signOut takes a connection out again; h.mu is held.
func (h *Hub) signOut(c *Conn) {
	a := h.accounts[c.claims.User]
	if a == nil {
		return
	}
	delete(a.conns, c)
	if len(a.conns) == 0 {
		delete(h.accounts, a.user)
		h.channels.UnsubscribeUser(a.user)
	}
	h.metrics.users.Set(float64(len(h.accounts)))
}

// UserNoticed hands an event to the connections of a user.
func (h *Hub) UserNoticed(user string, n domain.Notice) {
	h.mu.Lock()
	defer h.mu.Unlock()
	a := h.accounts[user]
	if a == nil {
		return
	}
	for c := range a.conns {
		if c.id != n.Except {
			c.push(n.Event)
		}
	}
}

// UserNotes reads a user's notes, beside the caller.
func (h *Hub) UserNotes(user string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	a := h.accounts[user]
	if a == nil {
		return
	}
	if a.reading {
		a.again = true
		return
	}
	a.reading = true
	h.work.Go(func() { h.readNotes(a) })
}

// readNotes reads until nothing more was announced. What fails here is left to the next look at all notes.
func (h *Hub) readNotes(a *account) {
	for more := true; more; {
		ctx, cancel := context.WithTimeout(context.Background(), repairTimeout)
		h.repairs <- struct{}{}
		err := h.handOutNotes(ctx, []*account{a})
		<-h.repairs
		cancel()
		if err != nil {
			h.log.Warn().Err(err).Str("user", a.user).Msg("notes not read, trying again")
		}
		h.mu.Lock()
		more = a.again && err == nil
		a.again, a.reading = false, more
		h.mu.Unlock()
	}
}

// readNotesOf reads a user's notes and hands them out before it returns; upTo is the last of them.
func (h *Hub) readNotesOf(ctx context.Context, user string) (upTo string, err error) {
	h.mu.Lock()
	a := h.accounts[user]
	h.mu.Unlock()
	if a == nil {
		return "", nil
	}
	err = h.handOutNotes(ctx, []*account{a})
	h.mu.Lock()
	defer h.mu.Unlock()
	return a.noted, err
}

// checkNotes reads the notes of all users here.
func (h *Hub) checkNotes(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, repairTimeout)
	defer cancel()
	for accounts := range slices.Chunk(h.everybody(), notesChunk) {
		if err := h.handOutNotes(ctx, accounts); err != nil {
			return err
		}
	}
	return nil
}

func (h *Hub) everybody() []*account {
	h.mu.Lock()
	defer h.mu.Unlock()
	accounts := make([]*account, 0, len(h.accounts))
	for _, a := range h.accounts {
		accounts = append(accounts, a)
	}
	return accounts
}

// handOutNotes reads the notes of some users and hands them to their connections, each note once and in order.
func (h *Hub) handOutNotes(ctx context.Context, accounts []*account) error {
	last := make(map[string]string, len(accounts))
	h.mu.Lock()
	for _, a := range accounts {
		last[a.user] = a.noted
	}
	h.mu.Unlock()
	notes, err := h.notes.Since(ctx, last)
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, a := range accounts {
		for _, n := range notes[a.user] {
			if !domain.NoteAfter(n.ID, a.noted) { // another reader was quicker
				continue
			}
			a.noted = n.ID
			for c := range a.conns {
				c.note(n)
			}
		}
	}
	return nil
}

// Sessions are those of all connections here. One that is leaving may have been taken out already, by the login that
// replaced it, and must not be brought back.
func (h *Hub) Sessions() []domain.Session {
	h.mu.Lock()
	defer h.mu.Unlock()
	sessions := make([]domain.Session, 0, len(h.conns))
	for c := range h.conns {
		if !c.isLeaving() {
			sessions = append(sessions, c.session())
		}
	}
	return sessions
}

// note takes what the user is told. What is older than the connection is none of its business.
func (c *Conn) note(n domain.Note) {
	switch {
	case !domain.NoteAfter(n.ID, c.admission.LastNote):
	case n.Kind == domain.NoteClose: // at once, and without asking anybody
		c.heed(context.Background(), n)
	default:
		c.start(task{own: func(ctx context.Context) { c.heed(ctx, n) }})
	}
}

// heed does what a note says.
func (c *Conn) heed(ctx context.Context, n domain.Note) {
	switch n.Kind {
	case domain.NoteClose:
		switch {
		case n.Conn != "" && n.Conn != c.id:
		case n.Code == domain.CloseReplaced: // the user is the same, and welcome elsewhere
			c.leave(n.Code, n.Reason)
		default:
			c.finish(n.Code, n.Reason)
		}
	case domain.NoteJoined:
		c.joined(ctx, n)
	case domain.NoteLeft:
		c.left(n)
	}
}

// readMissed reads the notes up to upTo, which were handed out to the user's other connections while this one was
// between its admission and its place among them.
func (c *Conn) readMissed(ctx context.Context, upTo string) {
	user := c.claims.User
	notes, err := c.server.hub.notes.Since(ctx, map[string]string{user: c.admission.LastNote})
	if err != nil {
		c.server.log.Warn().Err(err).Str("conn", c.id).Str("user", user).Msg("notes of a new connection not read")
		c.close(domain.CloseServerError, "could not subscribe, reconnect")
		return
	}
	for _, n := range notes[user] {
		if !domain.NoteAfter(n.ID, upTo) {
			c.heed(ctx, n)
		}
	}
}
