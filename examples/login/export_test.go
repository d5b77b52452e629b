// This file opens what tests need to see.

package login

// ReadPhone is readPhone.
var ReadPhone = readPhone
