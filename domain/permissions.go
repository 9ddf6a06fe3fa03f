package domain

// Action is something one may or may not do in a group.
type Action string

const (
	Read          Action = "read" // pull, subscribe, read marks
	Send          Action = "send" // also signals; the muted are refused by the script that accepts it
	ListMembers   Action = "list members"
	SeeGroup      Action = "see the group"
	Join          Action = "join"
	Leave         Action = "leave"
	AddMembers    Action = "add members"
	ChangeGroup   Action = "change the group"
	RemoveMembers Action = "remove members"
	MuteMembers   Action = "mute members"
	BlockUsers    Action = "block users"
	ChangeRoles   Action = "change roles" // handing over is making another one owner
	Dismiss       Action = "dismiss"
	RecallAny     Action = "recall messages" // at any time; what they sent, users recall for a while without it
)

// answer is a cell of the tables below.
type answer uint8

const (
	no answer = iota // forbidden; also what no table has
	yes
	open  // only where join is open
	added // unless join is closed
	out   // not_member
	first // conflict: first the group is handed over
	fixed // forbidden, to app servers too: a direct conversation has its two members for good
)

// row has a cell for whoever asks. The blocked need none: they are refused everything.
type row struct{ server, owner, admin, member, outsider answer }

// permissions is the table "who may do what" of PROTOCOL.md §4. A direct conversation has neither owner nor admins.
var permissions = map[Action]map[GroupType]row{
	Read: {
		Room:    {yes, yes, yes, yes, yes},
		Private: {yes, yes, yes, yes, out},
		Direct:  {yes, no, no, yes, out},
	},
	Send: {
		Room:    {yes, yes, yes, yes, yes},
		Private: {yes, yes, yes, yes, out},
		Direct:  {yes, no, no, yes, out},
	},
	ListMembers: {
		Room:    {yes, yes, yes, yes, yes},
		Private: {yes, yes, yes, yes, out},
		Direct:  {yes, no, no, yes, out},
	},
	SeeGroup: {
		Room:    {yes, yes, yes, yes, yes},
		Private: {yes, yes, yes, yes, out},
		Direct:  {yes, no, no, yes, out},
	},
	Join: {
		Room:    {yes, yes, yes, yes, open},
		Private: {yes, yes, yes, yes, open},
		Direct:  {fixed, no, no, yes, fixed},
	},
	Leave: {
		Room:    {yes, first, yes, yes, out},
		Private: {yes, first, yes, yes, out},
		Direct:  {fixed, no, no, fixed, out},
	},
	AddMembers: {
		Room:    {yes, added, added, added, out},
		Private: {yes, added, added, open, out},
		Direct:  {fixed, no, no, fixed, out},
	},
	ChangeGroup: {
		Room:    {yes, yes, yes, no, out},
		Private: {yes, yes, yes, no, out},
		Direct:  {fixed, no, no, fixed, out},
	},
	RemoveMembers: {
		Room:    {yes, yes, yes, no, out},
		Private: {yes, yes, yes, no, out},
		Direct:  {fixed, no, no, fixed, out},
	},
	MuteMembers: {
		Room:    {yes, yes, yes, no, out},
		Private: {yes, yes, yes, no, out},
		Direct:  {fixed, no, no, fixed, out},
	},
	BlockUsers: {
		Room:    {yes, yes, yes, no, out},
		Private: {yes, yes, yes, no, out},
		Direct:  {fixed, no, no, fixed, out},
	},
	ChangeRoles: {
		Room:    {yes, yes, no, no, out},
		Private: {yes, yes, no, no, out},
		Direct:  {fixed, no, no, fixed, out},
	},
	Dismiss: {
		Room:    {yes, yes, no, no, out},
		Private: {yes, yes, no, no, out},
		Direct:  {fixed, no, no, fixed, out},
	},
	RecallAny: {
		Room:    {yes, yes, yes, no, no},
		Private: {yes, yes, yes, no, out},
		Direct:  {yes, no, no, no, out},
	},
}

// overOthers is what permissions leaves open: it depends on the role of whom it is done to. The owner is the only one
// over whom an owner asks, so nobody removes, mutes or blocks himself. Messages of one's own are not among others'.
var overOthers = map[Action]map[Role]row{
	RemoveMembers: {
		Owner:  {server: first},
		Admin:  {server: yes, owner: yes},
		Member: {server: yes, owner: yes, admin: yes},
	},
	MuteMembers: {
		Owner:    {server: yes},
		Admin:    {server: yes, owner: yes},
		Member:   {server: yes, owner: yes, admin: yes},
		Outsider: {server: yes, owner: yes, admin: yes},
	},
	BlockUsers: {
		Owner:     {server: first},
		Admin:     {server: yes, owner: yes},
		Member:    {server: yes, owner: yes, admin: yes},
		Outsider:  {server: yes, owner: yes, admin: yes},
		BlockedIn: {server: yes, owner: yes, admin: yes},
	},
	ChangeRoles: {
		Owner:  {server: first, owner: first},
		Admin:  {server: yes, owner: yes},
		Member: {server: yes, owner: yes},
	},
	RecallAny: {
		Owner:     {server: yes},
		Admin:     {server: yes, owner: yes},
		Member:    {server: yes, owner: yes, admin: yes},
		Outsider:  {server: yes, owner: yes, admin: yes},
		BlockedIn: {server: yes, owner: yes, admin: yes},
	},
}

// Allow answers from the permission table: nil, or the error that tells why not.
func Allow(actor Actor, do Action, typ GroupType, join string, role Role) error {
	if role == BlockedIn && !actor.IsServer() {
		return errBlocked()
	}
	switch permissions[do][typ].of(actor, role) {
	case yes:
		return nil
	case open:
		if join == JoinOpen {
			return nil
		}
		if join == JoinClosed {
			return errClosed()
		}
		return Errorf(CodeForbidden, "this group is not open: its owner and admins add members")
	case added:
		if join == JoinClosed {
			return errClosed()
		}
		return nil
	case out:
		return Errorf(CodeNotMember, "you are not a member of this group")
	case first:
		return errHandOver()
	case fixed:
		return Errorf(CodeForbidden, "a direct conversation has its two members for good")
	}
	return Errorf(CodeForbidden, "your role does not allow this")
}

// AllowOver answers for what one who may do it in this group does to somebody whose role is target.
func AllowOver(actor Actor, do Action, role, target Role) error {
	switch overOthers[do][target].of(actor, role) {
	case yes:
		return nil
	case first:
		return errHandOver()
	}
	return Errorf(CodeForbidden, "your role does not allow this to be done to this user")
}

func (r row) of(actor Actor, role Role) answer {
	if actor.IsServer() {
		return r.server
	}
	switch role {
	case Owner:
		return r.owner
	case Admin:
		return r.admin
	case Member:
		return r.member
	case Outsider:
		return r.outsider
	}
	return no
}

func errClosed() error {
	return Errorf(CodeForbidden, "this group is closed: only app servers add members")
}

func errBlocked() error { return Errorf(CodeForbidden, "you are blocked in this group") }

func errHandOver() error { return Errorf(CodeConflict, "first the owner hands the group over") }
