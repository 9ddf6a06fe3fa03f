package domain

import "strings"

// Reserved ids. SystemUser speaks for app servers; a group cannot be called HotGroup because of its route.
const (
	SystemUser = "system"
	HotGroup   = "hot"
)

const (
	maxIDBytes   = 64
	directPrefix = "dm:" // all direct conversations lie behind it in the order of ids
)

// ValidID reports whether s is an id of the protocol: [A-Za-z0-9_.@#-]{1,64}. Ids need no escaping in JSON,
// Redis keys or channels.
func ValidID(s string) bool {
	if len(s) == 0 || len(s) > maxIDBytes {
		return false
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '_', c == '.', c == '@', c == '#', c == '-':
		default:
			return false
		}
	}
	return true
}

const idForm = "must be 1 to 64 characters of A-Z a-z 0-9 _ . @ # -"

// CheckID refuses what is not an id; field names it in the error.
func CheckID(field, id string) error {
	if !ValidID(id) {
		return BadField(field, idForm)
	}
	return nil
}

// CheckUser refuses what cannot be a user's id.
func CheckUser(field, user string) error {
	if err := CheckID(field, user); err != nil {
		return err
	}
	if user == SystemUser {
		return BadField(field, "%q is reserved", SystemUser)
	}
	return nil
}

// CheckGroup refuses what cannot name an existing group: an id, or dm:<lower>:<higher>.
func CheckGroup(field, group string) error {
	if _, _, ok := SplitDirect(group); ok {
		return nil
	}
	if !ValidID(group) {
		return BadField(field, "%s, or a direct conversation's dm:<user>:<user>", idForm)
	}
	if group == HotGroup {
		return BadField(field, "%q is reserved", HotGroup)
	}
	return nil
}

// CheckNewGroup refuses what cannot be the id of a new room or group.
func CheckNewGroup(field, group string) error {
	if err := CheckID(field, group); err != nil {
		return err
	}
	if group == HotGroup {
		return BadField(field, "%q is reserved", HotGroup)
	}
	return nil
}

// SplitDirect takes a direct conversation's id apart: dm:<lower>:<higher>, in byte order.
func SplitDirect(group string) (lower, higher string, ok bool) {
	rest, ok := strings.CutPrefix(group, directPrefix)
	if !ok {
		return "", "", false
	}
	lower, higher, ok = strings.Cut(rest, ":")
	if !ok || !ValidID(lower) || !ValidID(higher) || lower >= higher || lower == SystemUser || higher == SystemUser {
		return "", "", false
	}
	return lower, higher, true
}

// DirectID is the id of the direct conversation of two users: dm:<lower>:<higher>, in byte order.
func DirectID(a, b string) string { return directPrefix + min(a, b) + ":" + max(a, b) }

// Peer is the other side of a direct conversation; ok is false where there is none.
func Peer(group, user string) (peer string, ok bool) {
	lower, higher, ok := SplitDirect(group)
	switch {
	case ok && user == lower:
		return higher, true
	case ok && user == higher:
		return lower, true
	}
	return "", false
}

// DirectWith is the id of a user's direct conversation with another; field names the other in the error.
func DirectWith(user, field, other string) (string, error) {
	if err := CheckUser(field, other); err != nil {
		return "", err
	}
	if other == user {
		return "", BadField(field, "is yourself")
	}
	return DirectID(user, other), nil
}
