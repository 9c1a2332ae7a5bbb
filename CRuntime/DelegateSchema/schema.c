// SwiftPM needs one source file in a target; including the header here also compiles its static assertions.
#include "DelegateSchema.h"
