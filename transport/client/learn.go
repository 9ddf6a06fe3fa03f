package client

import "hearth/domain"

// learn asks for the user's groups, page by page.
func (f *follower) learn(cursor string) {
	c := f.conn
	f.ask("sync", SyncQuery{Cursor: cursor}, func(answer reply) {
		if f.conn == c {
			f.learned(cursor, answer)
		}
	})
}

// learned follows the groups that are new, each from its head on. The server has subscribed the connection already:
// pushes at or below the head may still be on their way, and make the group start there.
func (f *follower) learned(cursor string, answer reply) {
	var list SyncPage
	err := answer.into(&list)
	if refused, again := retryable(err); again {
		f.after(max(refused.RetryAfter, f.retry.next()), func() { f.learn(cursor) })
		return
	}
	if err != nil {
		f.cfg.OnGroupError("", err)
		return
	}
	f.retry.reset()
	for _, r := range list.Results {
		if f.groups[r.Group] != nil || f.left[r.Group] || r.Type == string(domain.Room) {
			continue
		}
		g := f.add(r.Group, r.MaxSeq)
		g.young = true
		f.catchUp(g)
	}
	if list.Cursor != "" {
		f.learn(list.Cursor)
	}
}
