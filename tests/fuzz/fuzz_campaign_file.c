/* The campaign file: whatever it holds, there is a set or there are faults. */
#include "consumer/campaign_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    struct config cfg = {.policy_timezone = (char *)"UTC", .policy_salt = (char *)"salt"};
    struct policy_set *set = NULL;
    struct yaml_walk w;
    int r = campaign_text_check(&cfg, (const char *)data, n, &w, &set);
    if ((r == 0) != (set != NULL) || (r == -EINVAL) != (w.n_faults > 0))
        abort();
    policy_set_free(set);
    walk_free(&w);
    return 0;
}
