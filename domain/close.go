package domain

// Close codes of connections. 4000–4499 mean reconnect, 4500–4999 do not.
const (
	CloseShuttingDown = 4000
	CloseNoPong       = 4001
	CloseTokenExpired = 4002
	CloseServerError  = 4003
	CloseTooSlow      = 4004
	CloseTooMany      = 4005
	CloseWithdrawn    = 4500 // key or user
	CloseAbuse        = 4501
	CloseReplaced     = 4502 // by another login
	CloseRemoved      = 4503 // by an app server
)
